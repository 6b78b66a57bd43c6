/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "metrics.h"
#include "report.h"

static bool is_written(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* Which ways of opening a file are let through. */
static int check_open(const Filesystem *fs, const FsNode *node,
	const struct fuse_file_info *fi)
{
	if (fs_node_is_directory(node))
		return EISDIR;
	if (node->kind == NODE_CONTROL)
		return 0;
	if (fi->flags & O_TRUNC)
		return EROFS;
	if (is_written(fi) && !(fs_node_is_data(node) &&
		    fs->options->settings->discard))
		return EROFS;
	return 0;
}

/* Files whose content is made at open have no size before. */
static void set_caching(const Filesystem *fs, const FsNode *node,
	struct fuse_file_info *fi)
{
	const Settings *settings = fs->options->settings;
	/* the kernel zeroes the edges of cached pages on a punch, and reads
	 * ahead what nobody was given */
	bool freed = fs_node_is_data(node) &&
		(settings->discard || settings->read_once);

	fi->direct_io = !node->snapshot || freed;
	fi->keep_cache = !fi->direct_io;
}

static void fs_file_free(FsFile *file)
{
	g_clear_pointer(&file->ahead, read_ahead_close);
	g_clear_pointer(&file->once, read_once_close);
	if (fs_node_is_data(&file->node))
		snapshot_close(file->node.snapshot);
	fs_node_clear(&file->node);
	g_free(file->text);
	g_free(file);
}

OpenFiles *open_files_new(void)
{
	OpenFiles *files = g_new0(OpenFiles, 1);

	g_mutex_init(&files->lock);
	files->set = g_hash_table_new_full(NULL, NULL,
		(GDestroyNotify)fs_file_free, NULL);
	return files;
}

void open_files_free(OpenFiles *files)
{
	g_hash_table_unref(files->set);
	g_mutex_clear(&files->lock);
	g_free(files);
}

static void keep_file(OpenFiles *files, FsFile *file)
{
	g_mutex_lock(&files->lock);
	g_hash_table_add(files->set, file);
	g_mutex_unlock(&files->lock);
}

static void close_file(OpenFiles *files, FsFile *file)
{
	g_mutex_lock(&files->lock);
	g_hash_table_steal(files->set, file);
	g_mutex_unlock(&files->lock);
	fs_file_free(file);
}

static void open_disk(const Filesystem *fs, FsFile *file)
{
	DiskView *disk = snapshot_disk(file->node.snapshot, file->node.disk);
	bool delta = file->node.kind == NODE_DELTA;

	file->ahead = read_ahead_new(disk, delta);
	if (fs->options->settings->read_once)
		file->once = read_once_open(disk, delta);
}

static void take_text(FsFile *file, char *text)
{
	file->text = text;
	file->text_size = strlen(text);
}

static void copy_content(FsFile *file)
{
	const char *content = fs_node_content(&file->node, &file->text_size);

	file->text = content ? g_memdup2(content, file->text_size) : NULL;
}

/* Only the disks keep a snapshot from being released. */
static FsFile *file_new(const Filesystem *fs, FsNode *node)
{
	FsFile *file;

	if (fs_node_is_data(node) && !snapshot_open(node->snapshot))
		return NULL;
	file = g_new0(FsFile, 1);
	file->node = *node;
	*node = (FsNode){ 0 };
	if (fs_node_is_data(&file->node))
		open_disk(fs, file);
	else if (file->node.kind == NODE_STATUS)
		take_text(file, report_status_json(fs->set));
	else if (file->node.kind == NODE_METRICS)
		take_text(file, metrics_text(fs->set));
	else
		copy_content(file);
	keep_file(fs->files, file);
	return file;
}

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const Filesystem *fs = fs_of(req);
	g_auto(FsNode) node = { 0 };
	int error = fs_node_get(fs, ino, &node);
	FsFile *file = NULL;

	if (!error)
		error = check_open(fs, &node, fi);
	if (!error) {
		set_caching(fs, &node, fi);
		file = file_new(fs, &node);
		error = file ? 0 : ESTALE;
	}
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	fi->fh = (uintptr_t)file;
	if (fuse_reply_open(req, fi) != 0)
		close_file(fs->files, file);
}

void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	close_file(fs_of(req)->files, fs_file_of(fi));
	fuse_reply_err(req, 0);
}

/* From a copy: as soon as the reader has the reply it may close the file,
 * and another thread frees the text before the reply has returned here. */
static void read_text(fuse_req_t req, const FsFile *file, size_t size,
	uint64_t offset)
{
	uint64_t start = MIN(offset, file->text_size);
	size_t length = MIN(size, file->text_size - start);
	g_autofree char *copy = g_memdup2(file->text + start, length);

	fuse_reply_buf(req, copy, length);
}

static void read_map(fuse_req_t req, const FsFile *file, size_t size,
	uint64_t offset)
{
	const DiskView *disk = snapshot_disk(file->node.snapshot,
		file->node.disk);
	const MapText *text = disk_view_map_text(disk,
		file->node.kind == NODE_DIRTY ? MAP_FORMAT_MAPFILE :
						MAP_FORMAT_JSON);
	g_autofree char *buffer = g_try_malloc(size);

	if (!buffer)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, buffer,
			map_text_read(text, offset, buffer, size));
}

void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	const FsFile *file = fs_file_of(fi);

	if (fs_node_is_data(&file->node))
		fs_data_read(req, file, size, off);
	else if (file->text || file->node.kind == NODE_CONTROL)
		read_text(req, file, size, off);
	else
		read_map(req, file, size, off);
}
