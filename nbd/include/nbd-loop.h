/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-loop.h - the thread that owns NBD connections
 *
 * libnbd handles are touched by their loop's thread and by nobody else, so
 * they need no lock of ours, and no callback of libnbd can run where libnbd
 * is being called.  Others hand their wishes over in a queue and wake the
 * thread through an eventfd.  A loop without requests in flight sleeps in
 * poll(2) without a time limit.
 */
#pragma once

#include <glib.h>

typedef struct NbdLoop NbdLoop;

/* Starts the thread. */
NbdLoop *nbd_loop_new(GError **error);

/* Ends the thread.  Every NbdExport on it must have been freed before. */
void nbd_loop_free(NbdLoop *loop);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdLoop, nbd_loop_free)
