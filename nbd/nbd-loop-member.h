/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-loop-member.h - what an NbdLoop drives
 *
 * Private to this folder.  A member is embedded in the object that has file
 * descriptors to poll (NbdExport); the loop knows nothing else of it.  The
 * three functions are called from the loop's thread only, with no lock held.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "nbd-loop.h"

#define NBD_NEVER INT64_MAX

typedef struct NbdLoopMember NbdLoopMember;

struct NbdLoopMember {
	/*
	 * Does what others asked for since the last round, then appends what
	 * to poll for (struct pollfd) to fds.  Returns when dispatch is to be
	 * called at the latest: g_get_monotonic_time() or NBD_NEVER.
	 */
	int64_t (*prepare)(NbdLoopMember *member, GArray *fds);
	/* Called after each poll; fds begins with what prepare added. */
	void (*dispatch)(NbdLoopMember *member, const struct pollfd *fds);
	/* Ends everything; the loop never touches the member again. */
	void (*let_go)(NbdLoopMember *member);

	size_t first_fd; /* loop's thread: index of what prepare added */
	bool gone;       /* loop's lock: let_go has returned */
};

/* Adds a member, whose three functions are set. Any thread. */
void nbd_loop_add(NbdLoop *loop, NbdLoopMember *member);

/* Removes a member and returns once let_go has.  Any thread but the loop's. */
void nbd_loop_remove(NbdLoop *loop, NbdLoopMember *member);

/* Makes the loop call prepare soon: to be called after the wish was queued.
 * Any thread; costs a system call only where the loop may be asleep. */
void nbd_loop_kick(NbdLoop *loop);
