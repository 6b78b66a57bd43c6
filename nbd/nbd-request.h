/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-request.h - one read, trim or block status request on its way
 *
 * Private to this folder.  A request is in exactly one queue at a time,
 * through its own link: the export's queue (guarded by the export's lock),
 * then, guarded by its drive, the export's waiting list, a connection's
 * in_flight, the export's finished.  One allocation carries it
 * all the way; the export frees it after done().
 */
#pragma once

#include <stdint.h>

#include <glib.h>
#include <libnbd.h>

#include "nbd-export.h"

enum nbd_request_type {
	NBD_REQUEST_READ,
	NBD_REQUEST_TRIM,
	NBD_REQUEST_STATUS,
};

typedef struct NbdConnection NbdConnection;

typedef struct {
	/* Set by who makes it, const from then on. */
	enum nbd_request_type type;
	void *buffer;                /* READ */
	nbd_extent_callback extents; /* STATUS */
	const char *context;         /* STATUS: of which metadata context */
	uint64_t length;
	uint64_t offset;
	NbdDone *done;
	void *opaque;

	/* The queue it is in; whatever guards that queue guards the rest. */
	GList link;                /* data points back to the request */
	NbdConnection *connection; /* set while in flight */
	uint64_t seen;             /* READ: bytes that have come, in order */
	int64_t deadline;          /* monotonic time, µs; set when issued */
	int error;                 /* set when finished */
} NbdRequest;

/* Queues the request, which it takes, on the export.  Any thread. */
void nbd_export_submit_take(NbdExport *export, NbdRequest *request);

/* For messages and bounds; const as long as the export lives. */
const NbdExportConfig *nbd_export_config(const NbdExport *export);
