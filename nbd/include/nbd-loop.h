/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-loop.h - the thread that waits for NBD connections
 *
 * It receives, and calls whoever waits for what came.  What others wish for is
 * left in a queue; they wake the thread through an eventfd, where it has to
 * see to it.  A loop whose exports have had nothing in flight for a while
 * sleeps in poll(2) without a time limit.
 */
#pragma once

#include <glib.h>

typedef struct NbdLoop NbdLoop;

/* Starts the thread. */
NbdLoop *nbd_loop_new(GError **error);

/* Ends the thread.  Every NbdExport on it must have been freed before. */
void nbd_loop_free(NbdLoop *loop);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdLoop, nbd_loop_free)
