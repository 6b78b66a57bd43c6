/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

static void init(void *userdata, struct fuse_conn_info *conn)
{
	const Filesystem *fs = userdata;

	/* libfuse wants to hear it twice: this, and the option of the mount */
	if (fs->options->max_read)
		conn->max_read = fs->options->max_read;
	/* files never change: nothing the kernel keeps can become wrong */
	conn->want &= ~FUSE_CAP_AUTO_INVAL_DATA;
	if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA)
		conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = init,
	.lookup = fs_lookup,
	.getattr = fs_getattr,
	.opendir = fs_opendir,
	.readdir = fs_readdir,
	.releasedir = fs_releasedir,
	.mkdir = fs_mkdir,
	.rmdir = fs_rmdir,
	.statfs = fs_statfs,
	.open = fs_open,
	.read = fs_read,
	.release = fs_release,
	.fallocate = fs_fallocate,
	.lseek = fs_lseek,
	.write = fs_write,
	.getxattr = fs_getxattr,
	.listxattr = fs_listxattr,
	.setattr = fs_refuse_setattr,
	.mknod = fs_refuse_mknod,
	.create = fs_refuse_create,
	.unlink = fs_refuse_unlink,
	.symlink = fs_refuse_symlink,
	.rename = fs_refuse_rename,
	.link = fs_refuse_link,
	.setxattr = fs_refuse_setxattr,
	.removexattr = fs_refuse_removexattr,
};
