/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-umount.c - unmount, and return when QEMU is clean
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl-command.h"
#include "ctl-mount.h"
#include "mounted-device.h"
#include "unmount.h"

/* A mount whose daemon is dead tells nothing any more, and another user's
 * not even to root: both can still be taken away. */
static bool may_unmount(const char *mountpoint, const GError *error)
{
	g_autofree char *type = mounted_type(mounted_device(mountpoint));

	return g_strcmp0(type, "fuse.fleecefs") == 0 &&
		(error->code == ENOTCONN || error->code == ECONNABORTED ||
			(error->code == EACCES && geteuid() == 0));
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	g_autoptr(GError) problem = NULL;
	/* malloc()ed: the same to g_free() since GLib 2.46 */
	g_autofree char *path = realpath(words[0], NULL);

	if (!ctl_mount_check(words[0], &problem) &&
	    !may_unmount(words[0], problem)) {
		g_propagate_error(error, g_steal_pointer(&problem));
		return false;
	}
	return unmount(path ? path : words[0], 0, error);
}

const CtlCommand ctl_umount = {
	.name = "umount",
	.arguments = "MNT",
	.summary = "unmount it, and return when QEMU is as it was before",
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
