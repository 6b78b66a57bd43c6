/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs-ops.h - the operations of the mount, one file of code per kind of thing
 *
 * No operation waits for the network or for QMP: what needs them is handed on
 * and answered by whoever finishes it.
 */
#pragma once

#include <fuse_lowlevel.h>

#include "fs-node.h"
#include "read-ahead.h"
#include "read-once.h"

/* The table for fuse_session_new(). */
extern const struct fuse_lowlevel_ops fs_ops;

/* How long the kernel may keep what it knows.  Names are looked up anew each
 * time, for snapshots come and go; what a node id stands for never changes.
 */
#define FS_ENTRY_TIMEOUT 0.0
#define FS_ATTR_TIMEOUT 3600.0

/* An open file; fuse_file_info.fh points to it. */
typedef struct {
	FsNode node;       /* with its own reference */
	char *text;        /* the content, where it is made at open */
	size_t text_size;
	ReadAhead *ahead;  /* of a disk's file */
	ReadOnce *once;    /* the same, with read_once; else NULL */
} FsFile;

static inline const Filesystem *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline FsFile *fs_file_of(const struct fuse_file_info *fi)
{
	return (FsFile *)(uintptr_t)fi->fh;
}

/* Answers with a directory entry for node, which stays the caller's. */
void fs_reply_entry(fuse_req_t req, const FsNode *node);

/* fs-dir.c */
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);

/* fs-file.c: open, close, and the files that are texts */
OpenFiles *open_files_new(void);
void open_files_free(OpenFiles *files); /* and every file in it */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* fs-data.c: the disks */
void fs_data_read(fuse_req_t req, const FsFile *file, size_t size,
	uint64_t offset);
void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
	off_t length, struct fuse_file_info *fi);
void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	struct fuse_file_info *fi);

/* fs-release.c: ends the snapshot of vm through a worker; what the kernel
 * still holds of its disks is dropped before done is called. */
void fs_release_vm(const Filesystem *fs, Vm *vm, bool force, VmDone *done,
	void *opaque);

/* fs-control.c */
void fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi);

/* fs-xattr.c */
void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	size_t size);
void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* fs-refuse.c: what would change the tree is EROFS */
void fs_refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
	int to_set, struct fuse_file_info *fi);
void fs_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode, dev_t rdev);
void fs_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode, struct fuse_file_info *fi);
void fs_refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
	const char *name);
void fs_refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	fuse_ino_t newparent, const char *newname, unsigned flags);
void fs_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
	const char *newname);
void fs_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags);
void fs_refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
