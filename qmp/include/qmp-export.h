/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-export.h - QEMU's NBD server (one a process) and its exports
 *
 * Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

/*
 * Starts the server on the listening socket that qmp_getfd() handed over as
 * fdname on this very connection; QEMU owns it from then on.
 * QMP_ERROR_GENERIC "NBD server already running" where there is one.
 */
bool qmp_nbd_server_start(QmpClient *client, const char *fdname,
	unsigned max_connections, GError **error);

/* The same on a socket that QEMU makes at path. */
bool qmp_nbd_server_start_at(QmpClient *client, const char *path,
	unsigned max_connections, GError **error);

/*
 * Stops it, and every NBD export with it.  No client of it may be in its
 * handshake: QEMU 7.2.22 then waits for that client for good, and the guest
 * with it.  Close connections before, or have them past their handshake.
 */
bool qmp_nbd_server_stop(QmpClient *client, GError **error);

typedef struct {
	const char *id;
	const char *node;
	const char *name;    /* on the wire */
	bool writable;       /* trims are allowed */
	bool fixed;          /* its node stays in the thread in which it is */
	/* Bitmaps that clients can read as "qemu:dirty-bitmap:BITMAP", NULL
	 * behind the last; NULL: none.  They are busy as long as the export is
	 * there. */
	const char *const *bitmaps;
	const char *bitmap_node;
} QmpExport;

/* Exports a node over NBD. */
bool qmp_block_export_add(QmpClient *client, const QmpExport *export,
	GError **error);

/*
 * Removes an export, closing its clients' connections, and returns when it is
 * gone from query-block-exports, within the client's time limit.
 * FLEECE_ERROR with ENOENT where there is no such export.
 */
bool qmp_block_export_del(QmpClient *client, const char *id, GError **error);
