/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fleece-error.h - one way to say what went wrong
 *
 * On the control path a function that can fail returns bool or a pointer and
 * takes a GError **.  The message is one phrase that can be printed as it
 * stands: it names the VM, the disk and the command where they are known and
 * keeps QEMU's own words.  No newline, no full stop at its end; whoever
 * unwinds adds what it knows with g_prefix_error().
 *
 * On the data path a result is 0 or a positive errno.  This header holds the
 * one map between the two.
 */
#pragma once

#include <glib.h>

/* The domain of our own errors.  A code of it *is* a positive errno. */
#define FLEECE_ERROR (fleece_error_quark())
GQuark fleece_error_quark(void);

/* Sets *error (which may be NULL) to errnum with the formatted phrase. */
void fleece_set_error(GError **error, int errnum, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

/* The same, with ": " and strerror(errnum) behind the phrase. */
void fleece_set_error_errno(GError **error, int errnum, const char *format,
	...) G_GNUC_PRINTF(3, 4);

/*
 * The positive errno that answers a system call which failed with error:
 * the code itself in our domain, the natural one for GLib's file errors, and
 * EIO for whatever else (QEMU said no).
 */
int fleece_error_errno(const GError *error);
