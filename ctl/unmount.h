/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unmount.h - unmount, and return when QEMU is clean
 *
 * umount(2) does not wait for a FUSE daemon.  The daemon's pid is an extended
 * attribute of the mount's root; its end is the end of the teardown.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

enum unmount_flags {
	UNMOUNT_LAZY = 1,  /* detach it; the end is not waited for */
	UNMOUNT_FORCE = 2,
};

/*
 * Unmounts mountpoint, which is no symbolic link, and waits for the daemon's
 * end.  Who is not root does it through fusermount3.  There is no waiting
 * where the daemon is dead, or where it is not ours to ask for its pid: not
 * even root may look into another user's mount.
 */
bool unmount(const char *mountpoint, unsigned flags, GError **error);
