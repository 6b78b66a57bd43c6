/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-export.h - one exported disk, over several connections
 *
 * The read engine: asynchronous reads and trims with a completion, spread
 * over the export's connections.  Those to a QEMU that we drive come connected,
 * so that the caller can deposit a duplicate of each in QEMU first: on QEMU
 * 7.2.14 to 7.2.22 a disconnect on an iothread's export aborts QEMU, and a
 * duplicate makes our death no disconnect.
 *
 * Each connection negotiates one metadata context at most, if that can be: an
 * error answer to a block status request with more than one desynchronises
 * QEMU's stream (up to 10.2), and the export is lost then.
 *
 * When a connection breaks or a request gets no answer in read_timeout_ms,
 * the export is lost: every request in flight and every later one ends with
 * EIO at once, and lost() is called, once.  There is no reconnecting: the
 * sockets are all there is.
 *
 * Any thread may call these functions unless said otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "extent-list.h"
#include "nbd-loop.h"
#include "nbd-server.h"

typedef struct NbdExport NbdExport;

typedef struct {
	const char *name;         /* export name, "" for the default one */
	uint64_t size;            /* what the export's size must be, bytes */
	unsigned timeout_ms;      /* for the handshake of a connection */
	unsigned read_timeout_ms; /* for any request once sent, not 0 */
	unsigned max_in_flight;   /* requests at once over all connections;
				   * 0: as many as the connections take (16
				   * each, QEMU's limit) */
	uint64_t room;            /* bytes: replies to the reads under way on
				   * one connection fit into so many; a read
				   * that is longer goes alone; 0: no limit */
	unsigned piece;           /* a read is sent in pieces that do not reach
				   * over a multiple of it; 0: in one */
	unsigned block;           /* reads and trims are multiples of it at the
				   * server, what others ask for is cut out of
				   * them; a power of two that piece and size
				   * are multiples of; 0: any length will do */
	/* Called from the loop's thread when the export is lost, at most once
	 * and never after nbd_export_free(); must not block.  May be NULL. */
	void (*lost)(void *opaque, const char *why);
	void *opaque;
} NbdExportConfig;

/*
 * Called from the loop's thread when a request has ended: error is 0 or a
 * positive errno as the server sent it (EINVAL from QEMU's snapshot-access:
 * trimmed or broken; EIO: the export is lost).  Must not block and must not
 * free the export; it may start other requests.
 */
typedef void NbdDone(void *opaque, int error);

/* An export without connections yet.  config's strings are copied. */
NbdExport *nbd_export_new(NbdLoop *loop, const NbdExportConfig *config);

/*
 * Does the handshake on fd, a connected socket which it takes, and asks for
 * the metadata context unless that is NULL.  Blocks up to timeout_ms.
 * Fails where the server does not offer the context, the size differs from
 * config's, or the server sends garbage (EPROTO) or nothing (ETIMEDOUT).
 */
bool nbd_export_connect_take(NbdExport *export, int fd, const char *context,
	GError **error);

/*
 * The same over a new connection to a server that others run; contexts ends
 * with NULL.  Several contexts are only for a server that is to have a single
 * connection.
 */
bool nbd_export_connect_server(NbdExport *export, const NbdServer *server,
	const char *const *contexts, GError **error);

/*
 * Reads the one byte at offset and waits: 0, or a positive errno as the
 * server sent it.  Blocks.
 */
int nbd_export_probe(NbdExport *export, uint64_t offset);

/* Whether the server takes trims. */
bool nbd_export_can_trim(const NbdExport *export);

/*
 * Reads the map of base:allocation over the connection that negotiated it.
 * EXTENT_ZERO where the ZERO bit is set and nowhere else; a malformed or
 * endless answer is EPROTO, never a guess.  Blocks.
 *
 * Where not NULL, where says with EXTENT_DIRTY what may be asked about; the
 * rest is EXTENT_ZERO, unasked.  It has the export's size.
 */
ExtentList *nbd_export_read_allocation(NbdExport *export,
	const ExtentList *where, GError **error);

/* The same for a "qemu:dirty-bitmap:NAME" context: EXTENT_DIRTY where its bit
 * is set.  context stays valid meanwhile. */
ExtentList *nbd_export_read_dirty(NbdExport *export, const char *context,
	GError **error);

/*
 * Reads length bytes (1 to 32 MiB) at offset into buffer, which must stay
 * until done(opaque, ...) is called.  done is called exactly once, also when
 * the export is lost or being freed; with ENOTCONN where the export has no
 * connection yet, with EPROTO where the server left a part of buffer out.
 */
void nbd_export_read_async(NbdExport *export, void *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque);

/* Trims [offset, offset + length); length is 1 to 1 GiB. */
void nbd_export_trim_async(NbdExport *export, uint64_t length,
	uint64_t offset, NbdDone *done, void *opaque);

/* Whether the export is lost. */
bool nbd_export_is_lost(const NbdExport *export);

/*
 * Ends every request still in flight with EIO, closes the sockets (no NBD
 * disconnect is sent) and frees everything.  Blocks until the loop's thread
 * has let go of it; never call it from a completion.
 */
void nbd_export_free(NbdExport *export);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdExport, nbd_export_free)
