/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

static DiskView *disk_of(const FsNode *node)
{
	return snapshot_disk(node->snapshot, node->disk);
}

/*
 * A read that has been handed on is answered by whoever is first: its end, or
 * a signal to the reader, which does not have to wait for a QEMU that hangs.
 */
enum read_state {
	READ_BEGINS,      /* is being handed on; the file is in use */
	READ_INTERRUPTED, /* the same, and a signal has come */
	READ_WAITS,
	READ_ANSWERED,
};

typedef struct {
	fuse_req_t req;
	ReadOnce *once; /* to be told; NULL: nobody is */
	uint64_t offset;
	size_t length;
	gint state; /* enum read_state; whoever sets READ_ANSWERED answers */
	gint refs;  /* atomic: that of the end, and of who hands it on */
} DataRead;

static DataRead *data_read_new(fuse_req_t req, const FsFile *file,
	size_t length, uint64_t offset)
{
	DataRead *read = g_new0(DataRead, 1);

	read->req = req;
	read->once = file->once ? read_once_ref(file->once) : NULL;
	read->offset = offset;
	read->length = length;
	read->state = READ_BEGINS;
	read->refs = 2;
	return read;
}

static void data_read_unref(DataRead *read)
{
	if (!g_atomic_int_dec_and_test(&read->refs))
		return;
	g_clear_pointer(&read->once, read_once_unref);
	g_free(read);
}

static bool moves(DataRead *read, enum read_state from, enum read_state to)
{
	return g_atomic_int_compare_and_exchange(&read->state, from, to);
}

/* An answer would free the request.  While it is being handed on, that may be
 * one of which libfuse holds the lock, and the file would be closed. */
static void data_read_interrupted(fuse_req_t req, void *opaque)
{
	if (!moves(opaque, READ_BEGINS, READ_INTERRUPTED) &&
		moves(opaque, READ_WAITS, READ_ANSWERED))
		fuse_reply_err(req, EINTR);
}

/* From here on a signal is answered when it comes. */
static void data_read_began(DataRead *read)
{
	if (!moves(read, READ_BEGINS, READ_WAITS) &&
		moves(read, READ_INTERRUPTED, READ_ANSWERED))
		fuse_reply_err(read->req, EINTR);
	data_read_unref(read);
}

/* What the kernel did not take, nobody has got. */
static void answer(const DataRead *read, int error, const struct iovec *parts,
	unsigned count)
{
	/* waits for data_read_interrupted(), which looks at read */
	fuse_req_interrupt_func(read->req, NULL, NULL);
	if (error)
		fuse_reply_err(read->req, error);
	else if (fuse_reply_iov(read->req, parts, (int)count) == 0 &&
		read->once)
		read_once_returned(read->once, read->length, read->offset);
}

static void data_read_done(void *opaque, int error, const struct iovec *parts,
	unsigned count)
{
	DataRead *read = opaque;

	if (g_atomic_int_exchange(&read->state, READ_ANSWERED) !=
		READ_ANSWERED)
		answer(read, error, parts, count);
	data_read_unref(read);
}

/* The reply comes from the NBD loop's thread, or from here where nothing has
 * to be waited for.  With it the file may be closed before read_ahead_read()
 * has returned. */
void fs_data_read(fuse_req_t req, const FsFile *file, size_t size,
	uint64_t offset)
{
	g_autoptr(Snapshot) keep = snapshot_ref(file->node.snapshot);
	uint64_t end = disk_view_size(snapshot_disk(keep, file->node.disk));
	DataRead *read;

	if (offset >= end || size == 0) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	read = data_read_new(req, file, MIN(size, end - offset), offset);
	fuse_req_interrupt_func(req, data_read_interrupted, read);
	read_ahead_read(file->ahead, read->length, offset, data_read_done,
		read);
	data_read_began(read);
}

static void punch_done(void *opaque, int error)
{
	fuse_reply_err(opaque, error);
}

/* As with a read, the file may be closed before this returns. */
static void punch(fuse_req_t req, const FsNode *node, uint64_t offset,
	uint64_t length)
{
	g_autoptr(Snapshot) keep = snapshot_ref(node->snapshot);

	disk_view_punch(snapshot_disk(keep, node->disk), offset, length,
		punch_done, req);
}

void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
	off_t length, struct fuse_file_info *fi)
{
	const FsFile *file = fs_file_of(fi);

	if (!fs_node_is_data(&file->node) ||
	    mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		fuse_reply_err(req, EOPNOTSUPP);
	else if (offset < 0 || length <= 0)
		fuse_reply_err(req, EINVAL);
	else
		punch(req, &file->node, offset, length);
}

/* What lseek(2) says of SEEK_DATA and SEEK_HOLE; there is a hole behind the
 * end of every file. */
static void seek_extents(fuse_req_t req, const FsNode *node, uint64_t offset,
	int whence)
{
	const ExtentList *extents = disk_view_extents(disk_of(node));
	bool delta = node->kind == NODE_DELTA;
	unsigned mask = delta ? EXTENT_DIRTY : EXTENT_ZERO;
	unsigned data = delta ? EXTENT_DIRTY : 0;
	uint64_t size = extent_list_size(extents);
	uint64_t found;

	if (offset >= size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	found = extent_list_next(extents, offset, mask,
		whence == SEEK_DATA ? data : data ^ mask);
	if (whence == SEEK_DATA && found >= size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, found);
}

/* A text has no holes. */
static void seek_text(fuse_req_t req, const Filesystem *fs,
	const FsNode *node, uint64_t offset, int whence)
{
	struct stat st;

	fs_node_stat(fs, node, &st);
	if (offset >= (uint64_t)st.st_size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, whence == SEEK_DATA ? (off_t)offset :
							    st.st_size);
}

void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	struct fuse_file_info *fi)
{
	const FsFile *file = fs_file_of(fi);

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		fuse_reply_err(req, EINVAL);
	else if (off < 0)
		fuse_reply_err(req, ENXIO);
	else if (fs_node_is_data(&file->node))
		seek_extents(req, &file->node, off, whence);
	else
		seek_text(req, fs_of(req), &file->node, off, whence);
}
