/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include "autofd.h"
#include "fleece-error.h"

bool ctl_mount_check(const char *mountpoint, GError **error)
{
	if (getxattr(mountpoint, "user.fleecefs.pid", NULL, 0) > 0)
		return true;
	if (errno == ENODATA || errno == EOPNOTSUPP)
		fleece_set_error(error, errno, "%s: no fleecefs is mounted "
			"there", mountpoint);
	else
		fleece_set_error_errno(error, errno, "%s", mountpoint);
	return false;
}

char *ctl_mount_status(const char *mountpoint, GError **error)
{
	g_autofree char *path = g_build_filename(mountpoint, ".fleecefs",
		"status", NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, NULL, error) ? text : NULL;
}

int ctl_mount_open_control(const char *mountpoint, GError **error)
{
	g_autofree char *path = g_build_filename(mountpoint, ".fleecefs",
		"control", NULL);
	int control = open(path, O_WRONLY | O_CLOEXEC);

	if (control < 0)
		fleece_set_error_errno(error, errno, "%s", path);
	return control;
}

int ctl_mount_command(int control, const char *command)
{
	g_autofree char *line = g_strconcat(command, "\n", NULL);

	return write(control, line, strlen(line)) < 0 ? errno : 0;
}
