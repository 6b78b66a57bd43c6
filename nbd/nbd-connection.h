/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-connection.h - one connected socket that speaks NBD
 *
 * Private to this folder.  An NbdConnection wraps a libnbd handle and the
 * requests in flight on it.  It is made and opened by any one thread; once
 * it was handed over, only the thread that drives the export (nbd-export.c)
 * may call the functions of the second part.
 *
 * Completions only move a request to the finished queue: the loop calls done()
 * later, outside of libnbd.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "nbd-request.h"
#include "nbd-server.h"

/* QEMU's server takes no more requests at once from one connection. */
#define NBD_CONNECTION_MAX_IN_FLIGHT 16

/* What the reply to a read of length bytes takes up in a socket: besides them
 * a header and the kernel's own, which is 1.3 KiB for a unix socket. */
#define NBD_REPLY_SIZE(length) ((uint64_t) (length) + 4096)

/* A connection without a socket.  Requests that ended are appended to
 * finished, which must outlive it. */
NbdConnection *nbd_connection_new(GQueue *finished);

/*
 * Does the handshake for the export called name on fd, a connected socket
 * which it takes, and asks for context unless that is NULL.  Blocks up to
 * timeout_ms.  The code is EPROTO for garbage, ETIMEDOUT for silence, ENOTSUP
 * for a context that the server does not have.  No retry: free it then.
 */
bool nbd_connection_open_take(NbdConnection *connection, int fd,
	const char *name, const char *context, unsigned timeout_ms,
	GError **error);

/*
 * The same on a connection to a server that others run, for several contexts
 * in a list that ends with NULL.  A server that fails a block status request
 * may get out of step where there are more than one.
 */
bool nbd_connection_open_server(NbdConnection *connection,
	const NbdServer *server, const char *name, const char *const *contexts,
	GError **error);

/* What the handshake told; fixed from then on, any thread may ask. */
uint64_t nbd_connection_size(const NbdConnection *connection);
bool nbd_connection_can_trim(const NbdConnection *connection);
bool nbd_connection_has_context(
	const NbdConnection *connection, const char *context);

/* Closes it (see below) and frees it. */
void nbd_connection_free(NbdConnection *connection);

/*
 * Second part: the thread that drives the export.
 *
 * Sends the request, which must have an end before deadline (monotonic time,
 * µs, never less than the one of an earlier request).  A request that cannot
 * be sent goes to the finished queue at once.
 */
void nbd_connection_issue(
	NbdConnection *connection, NbdRequest *request, int64_t deadline);

unsigned nbd_connection_in_flight(const NbdConnection *connection);

/* Bytes of the replies to them, with what the kernel needs to keep each. */
uint64_t nbd_connection_awaited(const NbdConnection *connection);

/* The deadline of the oldest request in flight, NBD_NEVER without one. */
int64_t nbd_connection_deadline(const NbdConnection *connection);

/* What to poll for; a closed connection gives a pollfd that poll ignores. */
struct pollfd nbd_connection_pollfd(const NbdConnection *connection);

/* Goes on with what poll(2) has found. */
void nbd_connection_notify(NbdConnection *connection, short revents);

/* Why the connection is of no use any more, or NULL while it is.  After any
 * of the calls above. */
const char *nbd_connection_broken(const NbdConnection *connection);

/* Closes the socket, without an NBD disconnect, and ends what is in flight
 * with EIO; no buffer is written to after that.  Doing it twice is fine. */
void nbd_connection_close(NbdConnection *connection);
