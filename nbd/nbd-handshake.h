/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-handshake.h - a libnbd handle up to the point where it may read
 *
 * Private to this folder.  Everything here blocks, up to a limit in time.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>
#include <libnbd.h>

#include "nbd-server.h"

/* Sets what libnbd said last; returns false. */
bool nbd_handshake_error(GError **error);

/*
 * Lets the handle work until it is ready, or waits for an option to be asked
 * for.  ETIMEDOUT after timeout_ms, EPROTO where the server hangs up.
 */
bool nbd_handshake_wait(struct nbd_handle *handle, unsigned timeout_ms,
	GError **error);

/*
 * Connects the handle to a server, up to the point where it waits for
 * options.  No retry: close it where this failed.
 */
bool nbd_handshake_dial(struct nbd_handle *handle, const NbdServer *server,
	GError **error);

/*
 * Of a handle that waits for options: chooses the export called name, with
 * the metadata contexts of a list that ends with NULL, and makes it ready.
 */
bool nbd_handshake_go(struct nbd_handle *handle, const char *name,
	const char *const *contexts, unsigned timeout_ms, GError **error);

/* The completion of an option: opaque is an int for its errno. */
int nbd_handshake_answered(void *opaque, int *error);

/* What came of an option whose errno is answer; false sets what libnbd said.
 */
bool nbd_handshake_check(int answer, GError **error);
