/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "read-once.h"

#include "disk-view-read.h"
#include "range-set.h"

/* A trim for less would cost more than it gives. */
#define STEP READ_ONCE_KEPT

struct ReadOnce {
	DiskView *view;     /* const */
	bool delta;         /* const */
	unsigned opening;   /* const: which opening of the disk it is */
	gint refs;          /* atomic */

	GMutex lock;        /* guards all that follows */
	RangeSet *returned;
	uint64_t run;       /* how far all that is no hole was returned */
	uint64_t freed;     /* how far the run was freed */
	bool stopped;
};

ReadOnce *read_once_open(DiskView *view, bool delta)
{
	ReadOnce *once = g_new0(ReadOnce, 1);

	once->view = view;
	once->delta = delta;
	once->opening = disk_view_opened(view);
	once->refs = 1;
	once->stopped = !disk_view_takes_trims(view);
	once->returned = range_set_new();
	g_mutex_init(&once->lock);
	return once;
}

ReadOnce *read_once_ref(ReadOnce *once)
{
	g_atomic_int_inc(&once->refs);
	return once;
}

void read_once_unref(ReadOnce *once)
{
	if (!g_atomic_int_dec_and_test(&once->refs))
		return;
	range_set_free(once->returned);
	g_mutex_clear(&once->lock);
	g_free(once);
}

void read_once_close(ReadOnce *once)
{
	disk_view_closed(once->view);
	read_once_unref(once);
}

/* The first byte at or behind offset that is in no hole of the file. */
static uint64_t next_data(const ReadOnce *once, uint64_t offset)
{
	unsigned mask = once->delta ? EXTENT_DIRTY : EXTENT_ZERO;

	return extent_list_next(disk_view_extents(once->view), offset, mask,
		once->delta ? EXTENT_DIRTY : 0);
}

/* The end of the run: a hole is part of it once there is more behind it. */
static uint64_t end_of_run_locked(const ReadOnce *once)
{
	uint64_t end = range_set_next_gap(once->returned, once->run);
	uint64_t size = disk_view_size(once->view);

	for (;;) {
		uint64_t data = next_data(once, end);
		uint64_t next = range_set_next_gap(once->returned, data);

		if (end >= size || data == end || next == data)
			return end;
		end = next;
	}
}

/* Why this read is not one of a reader that reads only once; NULL if it is.
 * Reads side by side may come here in any order. */
static const char *judge_locked(const ReadOnce *once, Range read)
{
	if (!disk_view_is_newest_opening(once->view, once->opening))
		return "it was opened a second time";
	if (once->run > READ_ONCE_KEPT &&
		range_set_overlaps(once->returned, read.start, read.end))
		return "its reader has gone back";
	return NULL;
}

/* What of the run is to be freed now: empty where that is nothing yet. */
static Range next_range_locked(ReadOnce *once)
{
	uint64_t start = once->freed, end;

	if (once->run <= READ_ONCE_KEPT + FLEECE_CLUSTER ||
		disk_view_is_open_twice(once->view))
		return (Range){ 0, 0 };
	end = once->run - FLEECE_CLUSTER;
	end -= end % FLEECE_CLUSTER;
	if (end - start < STEP && once->run < disk_view_size(once->view))
		return (Range){ 0, 0 };
	once->freed = end;
	return (Range){ start, end };
}

/* Where it failed, the view has said so, and goes on trying. */
static void freed(void *opaque G_GNUC_UNUSED, int error G_GNUC_UNUSED)
{
}

void read_once_returned(ReadOnce *once, size_t length, uint64_t offset)
{
	const Range read = { offset, offset + length };
	const char *why = NULL;
	Range range = { 0, 0 };

	g_mutex_lock(&once->lock);
	if (!once->stopped) {
		why = judge_locked(once, read);
		once->stopped = why != NULL;
	}
	if (!once->stopped) {
		range_set_add(once->returned, read.start, read.end);
		once->run = end_of_run_locked(once);
		range = next_range_locked(once);
	}
	g_mutex_unlock(&once->lock);
	if (why)
		g_warning("disk %s: read_once: %s: nothing more of it is freed",
			disk_view_id(once->view), why);
	if (range.start < range.end)
		disk_view_punch(once->view, range.start,
			range.end - range.start, freed, NULL);
}
