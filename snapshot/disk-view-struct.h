/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk-view-struct.h - what a DiskView consists of, for its own two files */
#pragma once

#include "disk-view-read.h"
#include "range-set.h"

typedef struct {
	DiskView *view;
	enum read_kind kind;
	uint64_t start, end;
	DiskDone *done;
	void *opaque;
	GList link; /* in view->reads, guarded by view->lock */
} ReadOp;

struct DiskView {
	char *name, *id;
	uint64_t size;
	int scratch_fd;        /* -1: none */
	BufferPool *buffers;   /* const */
	unsigned cluster;      /* what trims are multiples of; 0: no trims */
	bool foreign;          /* others run the server */
	NbdExport *export;     /* set at attach; NULL after close */
	ExtentList *extents;   /* set at attach, never changes */
	uint64_t allocated, dirty; /* the same */
	MapText *mapfile, *json; /* the same */

	GMutex lock;
	GCond idle;            /* signalled when users drops to 0 */
	unsigned users;        /* callers inside of export; lock */
	int error;             /* 0, or what every read ends with; lock */
	bool scratch_failed;   /* what QEMU reads of it may be wrong; lock */
	bool closing;          /* disk_view_close() began; lock */
	RangeSet *freed;       /* lock */
	GQueue reads;          /* ReadOps under way; lock */
	GQueue trims;          /* TrimOps that wait for reads; lock */
	GArray *owed;          /* Ranges whose trim failed; lock */
	DiskStats stats;       /* without scratch; lock */
	unsigned openings;     /* how often it was opened; lock */
	unsigned open;         /* of them are not closed; lock */
	bool refused;          /* a read was, and it was said; lock */
	void (*failed)(void *, int, const char *); /* lock */
	void *failed_opaque;   /* lock */
	char *failed_why;      /* why error was set by ourselves; lock */
};

/* Every call into the export stands between these two, so that close can
 * wait for the last one.  enter fails where there is nothing to call. */
bool disk_view_enter_locked(DiskView *view);
void disk_view_leave(DiskView *view);

/* Sends the trims that no read stands in the way of any more. */
void disk_view_issue_trims(DiskView *view);
