/* SPDX-License-Identifier: GPL-2.0-or-later */
/* await.h - one completion that a thread waits for */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct {
	GMutex lock;
	GCond ended;
	bool over; /* lock */
	int error; /* lock */
} Await;

void await_init(Await *await);

/* What the completion calls, in any thread; opaque is the Await. */
void await_done(void *opaque, int error);

/* Waits for it, without a limit; returns its error.  The Await is gone
 * then. */
int await_end(Await *await);
