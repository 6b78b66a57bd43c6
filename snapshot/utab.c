/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "utab.h"

#include <unistd.h>

#include <libmount/libmount.h>

static void update(const char *gone, struct libmnt_fs *fs)
{
	struct libmnt_update *change = mnt_new_update();

	/* 0: there is something to write, and it may be written */
	if (change && mnt_update_set_fs(change, 0, gone, fs) == 0)
		mnt_update_table(change, NULL);
	mnt_free_update(change);
}

void utab_add(const char *source, const char *mountpoint)
{
	struct libmnt_fs *fs = geteuid() == 0 ? mnt_new_fs() : NULL;

	if (fs && mnt_fs_set_source(fs, source) == 0 &&
	    mnt_fs_set_target(fs, mountpoint) == 0 &&
	    mnt_fs_set_fstype(fs, "fuse.fleecefs") == 0 &&
	    mnt_fs_set_options(fs, "helper=fleecefs") == 0)
		update(NULL, fs);
	mnt_unref_fs(fs);
}

void utab_remove(const char *mountpoint)
{
	if (geteuid() == 0)
		update(mountpoint, NULL);
}
