/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mounted-device.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <glib.h>

dev_t mounted_device(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, &st) < 0)
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/* Whether a line of mountinfo is one of the device. */
static bool is_of_device(const char *line, dev_t device)
{
	unsigned number_major, number_minor;

	return sscanf(line, "%*d %*d %u:%u ", &number_major,
		       &number_minor) == 2 &&
		makedev(number_major, number_minor) == device;
}

/* It stands behind a '-', as there are more or fewer words before that. */
static char *type_of_line(const char *line)
{
	const char *type = strstr(line, " - ");

	return type ? g_strndup(type + 3, strcspn(type + 3, " ")) : NULL;
}

char *mounted_type(dev_t device)
{
	g_autofree char *list = NULL;
	g_auto(GStrv) lines = NULL;

	if (!device ||
	    !g_file_get_contents("/proc/self/mountinfo", &list, NULL, NULL))
		return NULL;
	lines = g_strsplit(list, "\n", -1);
	for (char **line = lines; *line; line++) {
		if (is_of_device(*line, device))
			return type_of_line(*line);
	}
	return NULL;
}
