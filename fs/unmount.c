/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <unistd.h>

#include <glib.h>

#include "mounted-device.h"

/* As libfuse tells it: nothing is connected to the device any more. */
static bool is_unmounted(struct fuse_session *session)
{
	struct pollfd device = { .fd = fuse_session_fd(session) };

	return poll(&device, 1, 0) == 1 && (device.revents & POLLERR);
}

/* Has another take the device's number, which closes that: a pipe that nobody
 * reads, so that libfuse takes the session for unmounted. */
static bool close_device(struct fuse_session *session)
{
	int ends[2];
	bool closed;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	close(ends[0]);
	closed = dup3(ends[1], fuse_session_fd(session), O_CLOEXEC) >= 0;
	close(ends[1]);
	return closed;
}

/* Where files are open, it goes with the last of them.  What they are asked
 * for then is answered by the kernel, with ENOTCONN. */
static void detach(const char *mountpoint, dev_t device)
{
	if (mounted_device(mountpoint) != device)
		g_warning("not unmounted: something else is at %s by now",
			mountpoint);
	else if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		g_warning("umount %s: %s", mountpoint, g_strerror(errno));
}

void unmount_session(struct fuse_session *session, const char *mountpoint,
	dev_t device)
{
	if (geteuid() == 0 && device && !is_unmounted(session) &&
	    close_device(session))
		detach(mountpoint, device);
	fuse_session_unmount(session);
}
