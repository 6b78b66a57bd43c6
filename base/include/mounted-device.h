/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mounted-device.h - which filesystem is mounted at a place */
#pragma once

#include <sys/types.h>

/*
 * The device number of what is mounted at path, without asking the
 * filesystem's daemon, which may be dead or not serving yet; 0 where that
 * cannot be told.
 */
dev_t mounted_device(const char *path);

/*
 * Of which type the filesystem with this number is, as "fuse.fleecefs"; to be
 * freed.  NULL where it is mounted nowhere in this namespace, or that cannot
 * be told.
 */
char *mounted_type(dev_t device);
