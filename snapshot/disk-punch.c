/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk-punch.c - DiskView: what was read is freed */
#include "disk-view-struct.h"

#include <errno.h>

#define TRIM_MAX (UINT64_C(1) << 30)
/* How many trims a punch sends, those that failed before among them. */
#define TRIMS_MAX 8

/* What one punch has trimmed: what it freed, and what an earlier one failed to
 * trim. */
typedef struct {
	unsigned trims; /* that are not over; view->lock */
	int error;      /* the first of them; view->lock */
	DiskDone *done;
	void *opaque;
} PunchOp;

typedef struct {
	DiskView *view;
	PunchOp *punch;
	uint64_t start, end;  /* what is to be trimmed, cluster-aligned */
	uint64_t chunk_end;   /* how far the trim under way goes */
	GList link; /* in view->trims while it waits for reads */
} TrimOp;

static void issue_trim(TrimOp *op);

static void fail_trim_locked(TrimOp *op, int error)
{
	DiskView *view = op->view;
	const Range owed = { op->start, op->end };

	g_array_append_val(view->owed, owed);
	if (!op->punch->error)
		op->punch->error = view->error ? view->error : error;
	if (!view->error && view->owed->len == 1)
		g_warning("disk %s: scratch that was punched could not be "
			"freed: %s; the next punch tries again", view->id,
			g_strerror(error));
}

static void end_trim(TrimOp *op, int error)
{
	DiskView *view = op->view;
	PunchOp *punch = op->punch;
	bool last;

	g_mutex_lock(&view->lock);
	if (error)
		fail_trim_locked(op, error);
	last = --punch->trims == 0;
	g_mutex_unlock(&view->lock);
	g_free(op);
	if (!last)
		return;
	punch->done(punch->opaque, punch->error);
	g_free(punch);
}

static void trim_done(void *opaque, int error)
{
	TrimOp *op = opaque;

	if (!error)
		op->start = op->chunk_end;
	if (error || op->start == op->end)
		end_trim(op, error);
	else
		issue_trim(op);
}

/* Sends the next piece of the trim. */
static void issue_trim(TrimOp *op)
{
	DiskView *view = op->view;
	bool entered;

	g_mutex_lock(&view->lock);
	entered = disk_view_enter_locked(view);
	g_mutex_unlock(&view->lock);
	if (!entered) {
		end_trim(op, ESTALE);
		return;
	}
	op->chunk_end = MIN(op->end, op->start + TRIM_MAX);
	nbd_export_trim_async(view->export, op->chunk_end - op->start,
		op->start, trim_done, op);
	disk_view_leave(view);
}

static bool is_read_locked(DiskView *view, uint64_t start, uint64_t end)
{
	for (GList *link = view->reads.head; link; link = link->next) {
		const ReadOp *op = link->data;

		if (op->start < end && start < op->end)
			return true;
	}
	return false;
}

/* Takes one waiting trim that no read stands in the way of any more. */
static TrimOp *next_trim(DiskView *view)
{
	TrimOp *found = NULL;

	g_mutex_lock(&view->lock);
	for (GList *link = view->trims.head; link && !found;
		link = link->next) {
		TrimOp *op = link->data;

		if (!is_read_locked(view, op->start, op->end))
			found = op;
	}
	if (found)
		g_queue_unlink(&view->trims, &found->link);
	g_mutex_unlock(&view->lock);
	return found;
}

void disk_view_issue_trims(DiskView *view)
{
	TrimOp *op;

	while ((op = next_trim(view)))
		issue_trim(op);
}

/* Marks the range as freed.  True with the whole clusters that became free by
 * it, where there are any. */
static bool free_range_locked(DiskView *view, uint64_t start, uint64_t end,
	Range *clusters)
{
	bool freed = range_set_contains(view->freed, start, end);
	Range grown = range_set_add(view->freed, start, end);

	view->stats.freed = range_set_total(view->freed);
	return !freed && view->cluster &&
		range_whole_clusters(grown, start, end, view->cluster,
			view->size, clusters);
}

static void queue_trim_locked(DiskView *view, PunchOp *punch, Range range)
{
	TrimOp *op = g_new0(TrimOp, 1);

	*op = (TrimOp){ view, punch, range.start, range.end, range.start,
		{ .data = op } };
	g_queue_push_tail_link(&view->trims, &op->link);
	punch->trims++;
}

/* Frees the range, and queues the trims that follow.  Returns whether there
 * are any. */
static bool queue_trims(DiskView *view, uint64_t start, uint64_t end,
	DiskDone *done, void *opaque)
{
	PunchOp *punch = g_new0(PunchOp, 1);
	Range clusters;
	bool any;

	*punch = (PunchOp){ .done = done, .opaque = opaque };
	g_mutex_lock(&view->lock);
	if (free_range_locked(view, start, end, &clusters))
		queue_trim_locked(view, punch, clusters);
	while (view->owed->len && punch->trims < TRIMS_MAX) {
		guint last = view->owed->len - 1;

		queue_trim_locked(view, punch,
			g_array_index(view->owed, Range, last));
		g_array_set_size(view->owed, last);
	}
	/* from here on it may be over, and gone, at any time */
	any = punch->trims > 0;
	g_mutex_unlock(&view->lock);
	if (!any)
		g_free(punch);
	return any;
}

void disk_view_punch(DiskView *view, uint64_t offset, uint64_t length,
	DiskDone *done, void *opaque)
{
	uint64_t end = MIN(view->size, offset + length);
	int error;

	g_mutex_lock(&view->lock);
	error = view->error;
	g_mutex_unlock(&view->lock);
	if (error || offset >= end)
		done(opaque, error);
	else if (queue_trims(view, offset, end, done, opaque))
		disk_view_issue_trims(view);
	else
		done(opaque, 0);
}
