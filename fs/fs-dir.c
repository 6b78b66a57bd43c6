/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "fleece-error.h"

void fs_reply_entry(fuse_req_t req, const FsNode *node)
{
	struct fuse_entry_param entry = {
		.ino = node->id,
		.attr_timeout = FS_ATTR_TIMEOUT,
		.entry_timeout = FS_ENTRY_TIMEOUT,
	};

	fs_node_stat(fs_of(req), node, &entry.attr);
	fuse_reply_entry(req, &entry);
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	g_auto(FsNode) directory = { 0 };
	g_auto(FsNode) child = { 0 };
	int error = fs_node_get(fs_of(req), parent, &directory);

	if (!error)
		error = fs_node_lookup(fs_of(req), &directory, name, &child);
	if (error)
		fuse_reply_err(req, error);
	else
		fs_reply_entry(req, &child);
}

void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	g_auto(FsNode) node = { 0 };
	struct stat st;
	int error = fs_node_get(fs_of(req), ino, &node);

	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	fs_node_stat(fs_of(req), &node, &st);
	fuse_reply_attr(req, &st, FS_ATTR_TIMEOUT);
}

typedef struct {
	char *name;
	struct stat st; /* inode number and type are what readdir needs */
} DirEntry;

static void dir_entry_free(DirEntry *entry)
{
	g_free(entry->name);
	g_free(entry);
}

typedef struct {
	const Filesystem *fs;
	GPtrArray *entries;
} Listing;

static void add_entry(void *opaque, const char *name, const FsNode *child)
{
	Listing *listing = opaque;
	DirEntry *entry = g_new0(DirEntry, 1);

	entry->name = g_strdup(name);
	fs_node_stat(listing->fs, child, &entry->st);
	g_ptr_array_add(listing->entries, entry);
}

/* A directory is written down when it is opened: an offset, the number of an
 * entry, stays valid whatever comes and goes meanwhile. */
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(
		(GDestroyNotify)dir_entry_free);
	Listing listing = { fs_of(req), entries };
	g_auto(FsNode) node = { 0 };
	int error = fs_node_get(fs_of(req), ino, &node);

	if (!error && !fs_node_is_directory(&node))
		error = ENOTDIR;
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	add_entry(&listing, ".", &node);
	add_entry(&listing, "..", &node);
	fs_node_list(fs_of(req), &node, add_entry, &listing);
	fi->fh = (uintptr_t)entries;
	if (fuse_reply_open(req, fi) == 0)
		g_steal_pointer(&entries);
}

void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	const GPtrArray *entries = (const GPtrArray *)(uintptr_t)fi->fh;
	g_autofree char *buffer = g_malloc(size);
	size_t used = 0;

	for (uint64_t i = off; i < entries->len; i++) {
		const DirEntry *entry = entries->pdata[i];
		size_t length = fuse_add_direntry(req, buffer + used,
			size - used, entry->name, &entry->st, i + 1);

		if (length > size - used)
			break;
		used += length;
	}
	fuse_reply_buf(req, buffer, used);
}

void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	g_ptr_array_unref((GPtrArray *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* Both run on a worker, when QMP has been done with. */
typedef struct {
	fuse_req_t req;
	Vm *vm;
} MkDir;

static void mkdir_done(void *opaque, const GError *error)
{
	g_autofree MkDir *order = opaque;
	g_auto(FsNode) node = { 0 };
	Snapshot *snapshot = error ? NULL : vm_snapshot(order->vm);

	if (error)
		g_warning("%s", error->message);
	if (!snapshot) {
		fuse_reply_err(order->req,
			error ? fleece_error_errno(error) : ENOENT);
		return;
	}
	fs_node_of_vm_take(snapshot, &node);
	fs_reply_entry(order->req, &node);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const Filesystem *fs = fs_of(req);
	MkDir *order;
	Vm *vm;

	if (parent != FUSE_ROOT_ID) {
		fuse_reply_err(req, EROFS);
		return;
	}
	vm = vm_set_find(fs->set, name);
	if (!vm) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	order = g_new(MkDir, 1);
	*order = (MkDir){ req, vm };
	vm_set_submit(fs->set, vm, VM_TAKE, false, mkdir_done, order);
}

static void rmdir_done(void *opaque, const GError *error)
{
	if (error)
		g_warning("%s", error->message);
	fuse_reply_err(opaque, error ? fleece_error_errno(error) : 0);
}

void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const Filesystem *fs = fs_of(req);
	Vm *vm;

	if (parent != FUSE_ROOT_ID) {
		fuse_reply_err(req, EROFS);
		return;
	}
	vm = vm_set_find(fs->set, name);
	if (!vm)
		fuse_reply_err(req, g_str_equal(name, ".fleecefs") ? EROFS :
								     ENOENT);
	else
		fs_release_vm(fs, vm, false, rmdir_done, req);
}

/* What df shows is the scratch: the space that matters. */
void fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096,
		.f_namemax = 255 };
	uint64_t total, left;

	vm_set_scratch_space(fs_of(req)->set, &total, &left);
	st.f_blocks = total / st.f_frsize;
	st.f_bfree = st.f_bavail = left / st.f_frsize;
	fuse_reply_statfs(req, &st);
}
