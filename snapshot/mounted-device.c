/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mounted-device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

dev_t mounted_device(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, &st) < 0)
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}
