/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch.h - where old blocks go: an unlinked file
 *
 * The file has no name (O_TMPFILE): it is gone with its last descriptor,
 * whoever dies.  QEMU gets a duplicate; ours stays open, because fstat(2) on
 * it is how the use of scratch is known without asking QEMU.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "extent-list.h"

/*
 * A scratch file of size bytes in directory; -1 on failure.  reserve takes
 * the space at once, so that no write to it can fail for want of it.
 * EOPNOTSUPP where the filesystem has no O_TMPFILE or is NFS.
 */
int scratch_open(const char *directory, uint64_t size, bool reserve,
	GError **error);

/* Whether file, a path, is on the same filesystem, as far as that can be seen
 * from here. */
bool scratch_shares(const char *directory, const char *file);

/* The bytes it takes up on its filesystem now. */
uint64_t scratch_used(int fd);

/*
 * The errno with which the kernel has failed to write pages of the file, which
 * is of size bytes, to its device, or 0.  Such pages may be gone from memory,
 * and reading them then gives what was there before.  Told once for each
 * failure.  Waits for nothing.
 */
int scratch_lost(int fd, uint64_t size);

/*
 * EXTENT_DIRTY where QEMU has put data into it, and perhaps where there is
 * none; what it has put there as zeros is none.  NULL with error set where
 * the filesystem does not say, or memory is short.
 */
ExtentList *scratch_copied(int fd, uint64_t size, GError **error);
