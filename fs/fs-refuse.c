/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>

/* The control file is opened with O_TRUNC by every shell's ">". */
static bool is_control_truncate(const Filesystem *fs, fuse_ino_t ino,
	int to_set)
{
	FsNode node;

	return to_set == FUSE_SET_ATTR_SIZE && fs_node_get(fs, ino, &node) == 0
		&& node.kind == NODE_CONTROL;
}

void fs_refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
	int to_set, struct fuse_file_info *fi)
{
	if (ino >> 32 == 0 && is_control_truncate(fs_of(req), ino, to_set))
		fs_getattr(req, ino, fi);
	else
		fuse_reply_err(req, EROFS);
}

void fs_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode, dev_t rdev)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
	const char *name)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	fuse_ino_t newparent, const char *newname, unsigned flags)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
	const char *newname)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags)
{
	fuse_reply_err(req, EROFS);
}

void fs_refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, EROFS);
}
