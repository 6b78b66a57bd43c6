/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unmount.h - the mount goes where the daemon ends first */
#pragma once

#include <sys/types.h>

#include <fuse_lowlevel.h>

/*
 * To be called in place of fuse_session_unmount(), with the mountpoint, which
 * is absolute, and the number of the mount's device (mounted-device.h).
 *
 * For root libfuse has umount(8) do it since 3.17, whether there is an mtab to
 * keep or not, and a confined daemon starts no program any more: its dead
 * mount would stay.  libfuse also unmounts whatever is on top there; here it
 * has to be ours.  Users need fusermount3, and are left to libfuse.
 */
void unmount_session(struct fuse_session *session, const char *mountpoint,
	dev_t device);
