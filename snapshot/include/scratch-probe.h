/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch-probe.h - whether the filesystem of a scratch directory answers
 *
 * It does not while it is frozen (fsfreeze(8), a snapshot of the host's
 * volume) or its device hangs.  A write of QEMU's that is under way there
 * cannot be cancelled.  It costs the guest nothing, once cbw_timeout is over,
 * as long as nobody wants QEMU to wait for it: the one who takes out the
 * filter does, and then QEMU stands still, and the guest with it.  The one
 * who opens, truncates or closes a scratch file waits as well, and not even
 * SIGKILL ends that.  So ask here before.
 *
 * It is a process of its own that tries, for it may hang until the filesystem
 * answers again.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * Makes a file in directory, writes to it and syncs it.  Returns false where
 * that was not over, well or not, within limit_ms.  Blocks; any thread.
 */
bool scratch_answers(const char *directory, unsigned limit_ms);

/* The same; ETIMEDOUT with error set where it does not answer. */
bool scratch_check_answers(const char *directory, unsigned limit_ms,
	GError **error);
