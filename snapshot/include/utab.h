/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * utab.h - tell umount(8) that this mount has a helper
 *
 * umount(8) asks statfs(2) first, sees "fuse" without its subtype, and looks
 * for a helper no further - unless libmount's list of what users said about
 * mounts (/run/mount/utab) has an entry for the mountpoint.  There we write
 * "helper=fleecefs", so that umount.fleecefs is what unmounts.
 *
 * Best effort, and root's alone: for others umount(8) looks into the whole
 * list of mounts anyway.  An entry that a killed daemon left does no harm: it
 * counts only for a mount of the same source at the same place.
 */
#pragma once

/* The mount stands: note it. */
void utab_add(const char *source, const char *mountpoint);

/* It is gone: forget it. */
void utab_remove(const char *mountpoint);
