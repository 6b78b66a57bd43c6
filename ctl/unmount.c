/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unmount.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "mounted-device.h"

/* -1 where this is no fleecefs, or its daemon is dead already. */
static int open_daemon(const char *mountpoint)
{
	char text[16] = "";

	if (getxattr(mountpoint, "user.fleecefs.pid", text,
		    sizeof text - 1) < 0)
		return -1;
	return pidfd_open(atoi(text), 0);
}

/* For those who are not root: their mounts end through a setuid helper. */
static bool unmount_as_user(const char *mountpoint, unsigned flags,
	GError **error)
{
	const char *argv[] = { "fusermount3", "-u",
		flags & UNMOUNT_LAZY ? "-z" : "--", mountpoint, NULL };
	g_autofree char *said = NULL;
	int status;

	if (!g_spawn_sync(NULL, (char **)argv, NULL,
		    G_SPAWN_SEARCH_PATH | G_SPAWN_CHILD_INHERITS_STDIN, NULL,
		    NULL, NULL, &said, &status, error))
		return false;
	if (g_spawn_check_wait_status(status, NULL))
		return true;
	fleece_set_error(error, EPERM, "%s: %s", mountpoint,
		*g_strstrip(said) ? said : "fusermount3 failed");
	return false;
}

static bool detach(const char *mountpoint, unsigned flags, GError **error)
{
	int kernel = (flags & UNMOUNT_LAZY ? MNT_DETACH : 0) |
		(flags & UNMOUNT_FORCE ? MNT_FORCE : 0);

	if (umount2(mountpoint, kernel | UMOUNT_NOFOLLOW) == 0)
		return true;
	if (errno == EPERM && geteuid() != 0)
		return unmount_as_user(mountpoint, flags, error);
	fleece_set_error_errno(error, errno, "%s", mountpoint);
	return false;
}

/* In another place, as by mount --bind. */
static bool is_mounted(dev_t device)
{
	g_autofree char *type = mounted_type(device);

	return type;
}

static void wait_for_end(int daemon)
{
	struct pollfd poller = { .fd = daemon, .events = POLLIN };

	while (poll(&poller, 1, -1) < 0 && errno == EINTR)
		;
}

bool unmount(const char *mountpoint, unsigned flags, GError **error)
{
	AUTOFD int daemon = open_daemon(mountpoint);
	dev_t device = mounted_device(mountpoint);

	if (!detach(mountpoint, flags, error))
		return false;
	/* a lazy one ends when its last file is closed: nobody waits, nor for
	 * one that is still mounted elsewhere */
	if (daemon >= 0 && !(flags & UNMOUNT_LAZY) && !is_mounted(device))
		wait_for_end(daemon);
	return true;
}
