/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "read-ahead.h"

#include <errno.h>

#include "disk-view-read.h"

/* In buffers: where a stream of large reads begins, where distance may take
 * it (so that two files of a disk can be read at once), how far behind the
 * reader something may still be asked for (the kernel sends reads in any
 * order), and how many one read may span. */
#define FIRST_WINDOW 4
#define LARGEST_WINDOW (READ_AHEAD_BUFFERS / 2)
#define KEPT_BEHIND 4
#define SPAN 8

/* A read of this size is no look at a header. */
#define LARGE_READ FLEECE_CLUSTER

/* So many reads beside a stream end it in favour of another one. */
#define PATIENCE 8

typedef struct {
	ReadAhead *ahead;
	uint64_t start, end;
	char *buffer;
	int64_t issued;        /* monotonic time, µs */
	bool loading, failed;  /* ahead->lock, as all that follows */
	bool dropped;          /* not in ahead->slots any more */
	unsigned users;        /* readers that wait for it or copy from it */
	uint64_t asked;        /* bytes that readers have asked for so far */
	GList link;            /* in ahead->slots */
} Slot;

typedef struct {
	ReadAhead *ahead;
	uint64_t offset, end;
	ReadAheadDone *done;
	void *opaque;
	Slot *slots[SPAN];     /* const once they are taken */
	unsigned count;
	char *buffer;          /* of a read that is handed on */
	GList link;            /* in ahead->waiting; its lock */
} Reader;

struct ReadAhead {
	DiskView *view;        /* const */
	bool delta;            /* const */
	gint refs;             /* atomic: the file's, Slots' and Readers' */

	GMutex lock;           /* guards all that follows */
	GQueue slots;          /* Slot, by offset, none twice */
	GQueue waiting;        /* Reader whose slots are still loading */
	bool active;           /* there is a stream */
	uint64_t position;     /* of the stream: the end of its furthest read */
	uint64_t next;         /* where the next slot begins, at the earliest */
	unsigned window;       /* slots to have beyond the position */
	uint64_t last_end;     /* of the read before */
	unsigned strays;       /* reads beside the stream, in a row */
	int64_t fastest;       /* µs that a slot took at least; 0: none yet */
};

ReadAhead *read_ahead_new(DiskView *view, bool delta)
{
	ReadAhead *ahead = g_new0(ReadAhead, 1);

	ahead->view = view;
	ahead->delta = delta;
	ahead->refs = 1;
	g_mutex_init(&ahead->lock);
	g_queue_init(&ahead->slots);
	g_queue_init(&ahead->waiting);
	return ahead;
}

static ReadAhead *ahead_ref(ReadAhead *ahead)
{
	g_atomic_int_inc(&ahead->refs);
	return ahead;
}

static void ahead_unref(ReadAhead *ahead)
{
	if (!g_atomic_int_dec_and_test(&ahead->refs))
		return;
	g_assert(ahead->slots.length == 0 && ahead->waiting.length == 0);
	buffer_pool_trim(disk_view_buffers(ahead->view));
	g_mutex_clear(&ahead->lock);
	g_free(ahead);
}

/* --- slots --- */

/* Frees a slot that nobody is to find, and nobody uses any more. */
static void slot_settle_locked(Slot *slot)
{
	if (!slot->dropped || slot->loading || slot->users > 0)
		return;
	buffer_pool_give(disk_view_buffers(slot->ahead->view), slot->buffer);
	g_free(slot);
}

static void slot_drop_locked(Slot *slot)
{
	if (slot->dropped)
		return;
	slot->dropped = true;
	g_queue_unlink(&slot->ahead->slots, &slot->link);
	slot_settle_locked(slot);
}

static void drop_all_locked(ReadAhead *ahead)
{
	while (ahead->slots.head)
		slot_drop_locked(ahead->slots.head->data);
}

static Slot *find_slot_locked(const ReadAhead *ahead, uint64_t offset)
{
	for (GList *link = ahead->slots.head; link; link = link->next) {
		Slot *slot = link->data;

		if (offset >= slot->start && offset < slot->end)
			return slot;
	}
	return NULL;
}

/* Whoever asks for the rest of these comes too late. */
static void drop_stale_locked(ReadAhead *ahead)
{
	GList *link = ahead->slots.head;

	while (link) {
		Slot *slot = link->data;

		link = link->next;
		if (slot->end + KEPT_BEHIND * READ_AHEAD_BUFFER <
			ahead->position)
			slot_drop_locked(slot);
	}
}

void read_ahead_close(ReadAhead *ahead)
{
	g_mutex_lock(&ahead->lock);
	drop_all_locked(ahead);
	ahead->active = false;
	g_mutex_unlock(&ahead->lock);
	ahead_unref(ahead);
}

/* --- the stream --- */

static uint64_t align(uint64_t offset)
{
	return offset - offset % READ_AHEAD_BUFFER;
}

static bool begins_stream_locked(const ReadAhead *ahead, const Reader *reader)
{
	bool large = reader->end - reader->offset >= LARGE_READ;

	if (ahead->active && ahead->strays < PATIENCE)
		return false;
	return reader->offset == 0 ? large : reader->offset == ahead->last_end;
}

static void begin_stream_locked(ReadAhead *ahead, const Reader *reader)
{
	bool large = reader->end - reader->offset >= LARGE_READ;

	drop_all_locked(ahead);
	ahead->active = true;
	ahead->position = reader->offset;
	ahead->next = align(reader->offset);
	ahead->window = large ? FIRST_WINDOW : 1;
}

/* Small reads earn their window by going on. */
static void advance_locked(ReadAhead *ahead, uint64_t end)
{
	if (end <= ahead->position)
		return;
	if (align(end) != align(ahead->position) &&
		ahead->window < FIRST_WINDOW)
		ahead->window *= 2;
	ahead->position = end;
}

/* Whether the read belongs to the stream, which it may begin. */
static bool follow_locked(ReadAhead *ahead, const Reader *reader)
{
	bool follows = ahead->active &&
		(reader->offset == ahead->position ||
			find_slot_locked(ahead, reader->offset));

	if (!follows && begins_stream_locked(ahead, reader)) {
		begin_stream_locked(ahead, reader);
		follows = true;
	}
	ahead->last_end = reader->end;
	ahead->strays = follows ? 0 : ahead->strays + 1;
	if (follows)
		advance_locked(ahead, reader->end);
	return follows;
}

/* The first byte at or behind offset that is in no hole of the file. */
static uint64_t next_data(const ReadAhead *ahead, uint64_t offset)
{
	unsigned mask = ahead->delta ? EXTENT_DIRTY : EXTENT_ZERO;

	return extent_list_next(disk_view_extents(ahead->view), offset, mask,
		ahead->delta ? EXTENT_DIRTY : 0);
}

static unsigned count_beyond_locked(const ReadAhead *ahead)
{
	unsigned count = 0;

	for (GList *link = ahead->slots.tail; link; link = link->prev) {
		if (((Slot *)link->data)->end <= ahead->position)
			break;
		count++;
	}
	return count;
}

/* Adds the next slot of data; NULL at the end, or where no buffer is left. */
static Slot *add_slot_locked(ReadAhead *ahead)
{
	uint64_t size = disk_view_size(ahead->view);
	uint64_t start = ahead->next < size ?
		align(next_data(ahead, ahead->next)) : size;
	char *buffer = start < size ?
		buffer_pool_take(disk_view_buffers(ahead->view)) : NULL;
	Slot *slot;

	if (!buffer)
		return NULL;
	slot = g_new0(Slot, 1);
	slot->ahead = ahead_ref(ahead);
	slot->start = start;
	slot->end = MIN(size, start + READ_AHEAD_BUFFER);
	slot->buffer = buffer;
	slot->loading = true;
	slot->link.data = slot;
	g_queue_push_tail_link(&ahead->slots, &slot->link);
	ahead->next = slot->end;
	return slot;
}

/* What this read needs, and then what the next ones will; the new slots are
 * added to loads. */
static void extend_locked(ReadAhead *ahead, const Reader *reader,
	GPtrArray *loads)
{
	Slot *slot;

	drop_stale_locked(ahead);
	ahead->next = MAX(ahead->next, align(reader->offset));
	while (ahead->next < reader->end ||
		count_beyond_locked(ahead) < ahead->window) {
		slot = add_slot_locked(ahead);
		if (!slot)
			return;
		g_ptr_array_add(loads, slot);
	}
}

/* --- readers --- */

/* Takes the slots that hold all of the read, or none; either way what there
 * is of it counts as asked for. */
static bool take_slots_locked(ReadAhead *ahead, Reader *reader)
{
	uint64_t at = reader->offset;
	GList *link = ahead->slots.head;
	bool held;

	while (link) {
		Slot *slot = link->data;
		uint64_t from = MAX(slot->start, reader->offset);
		uint64_t to = MIN(slot->end, reader->end);

		link = link->next;
		if (from >= to)
			continue;
		if (from == at && reader->count < SPAN) {
			reader->slots[reader->count++] = slot;
			slot->users++;
			at = to;
		}
		slot->asked += to - from;
		if (slot->asked >= slot->end - slot->start)
			slot_drop_locked(slot);
	}
	held = at == reader->end;
	while (!held && reader->count > 0) {
		Slot *slot = reader->slots[--reader->count];

		slot->users--;
		slot_settle_locked(slot);
	}
	return held;
}

static bool is_loading_locked(const Reader *reader)
{
	for (unsigned i = 0; i < reader->count; i++) {
		if (reader->slots[i]->loading)
			return true;
	}
	return false;
}

/* Gives its slots back; whether one of them had failed. */
static bool release_slots(Reader *reader)
{
	bool failed = false;

	g_mutex_lock(&reader->ahead->lock);
	while (reader->count > 0) {
		Slot *slot = reader->slots[--reader->count];

		failed = failed || slot->failed;
		slot->users--;
		slot_settle_locked(slot);
	}
	g_mutex_unlock(&reader->ahead->lock);
	return failed;
}

static void reader_free(Reader *reader)
{
	ahead_unref(reader->ahead);
	g_free(reader->buffer);
	g_free(reader);
}

static void handed_on_done(void *opaque, int error)
{
	Reader *reader = opaque;
	struct iovec part = { reader->buffer, reader->end - reader->offset };

	reader->done(reader->opaque, error, &part, 1);
	reader_free(reader);
}

/* As if there were no read-ahead. */
static void hand_on(Reader *reader)
{
	size_t length = reader->end - reader->offset;
	DiskView *view = reader->ahead->view;

	reader->buffer = g_try_malloc(length);
	if (!reader->buffer)
		handed_on_done(reader, ENOMEM);
	else if (reader->ahead->delta)
		disk_view_read_delta(view, reader->buffer, length,
			reader->offset, handed_on_done, reader);
	else
		disk_view_read(view, reader->buffer, length, reader->offset,
			handed_on_done, reader);
}

static bool has_failed(Reader *reader)
{
	bool failed = false;

	g_mutex_lock(&reader->ahead->lock);
	for (unsigned i = 0; i < reader->count; i++)
		failed = failed || reader->slots[i]->failed;
	g_mutex_unlock(&reader->ahead->lock);
	return failed;
}

/* Its slots have ended: the bytes are there, or cannot be had that way. */
static void serve(Reader *reader)
{
	struct iovec parts[SPAN];
	int error;

	if (has_failed(reader)) {
		release_slots(reader);
		hand_on(reader);
		return;
	}
	error = disk_view_may_read(reader->ahead->view, READ_ASKED,
		reader->end - reader->offset, reader->offset);
	for (unsigned i = 0; i < reader->count; i++) {
		const Slot *slot = reader->slots[i];
		uint64_t from = MAX(slot->start, reader->offset);

		parts[i].iov_base = slot->buffer + (from - slot->start);
		parts[i].iov_len = MIN(slot->end, reader->end) - from;
	}
	reader->done(reader->opaque, error, parts, reader->count);
	release_slots(reader);
	reader_free(reader);
}

/* --- loading --- */

/* Somebody stands waiting while a slot has come as fast as any: requests do
 * not queue up, so more of them on the way bring more. */
static void judge_window_locked(ReadAhead *ahead, const Slot *slot)
{
	int64_t took = MAX(1, g_get_monotonic_time() - slot->issued);

	if (ahead->fastest == 0 || took < ahead->fastest)
		ahead->fastest = took;
	if (ahead->waiting.head && took <= 2 * ahead->fastest &&
		ahead->window >= FIRST_WINDOW &&
		ahead->window < LARGEST_WINDOW)
		ahead->window++;
}

/* Moves the readers that wait no longer into ready. */
static void wake_locked(ReadAhead *ahead, GQueue *ready)
{
	GList *link = ahead->waiting.head;

	while (link) {
		GList *next = link->next;

		if (!is_loading_locked(link->data)) {
			g_queue_unlink(&ahead->waiting, link);
			g_queue_push_tail_link(ready, link);
		}
		link = next;
	}
}

static void slot_done(void *opaque, int error)
{
	Slot *slot = opaque;
	ReadAhead *ahead = slot->ahead;
	GQueue ready = G_QUEUE_INIT;
	GList *link;

	g_mutex_lock(&ahead->lock);
	slot->loading = false;
	slot->failed = error != 0;
	judge_window_locked(ahead, slot);
	if (slot->users > 0)
		wake_locked(ahead, &ready);
	if (slot->failed && !slot->dropped)
		slot_drop_locked(slot);
	else
		slot_settle_locked(slot);
	g_mutex_unlock(&ahead->lock);
	while ((link = g_queue_pop_head_link(&ready)))
		serve(link->data);
	ahead_unref(ahead);
}

static void load(Slot *slot)
{
	DiskView *view = slot->ahead->view;
	size_t length = slot->end - slot->start;

	if (slot->ahead->delta)
		disk_view_read_delta_as(view, READ_AHEAD, slot->buffer, length,
			slot->start, slot_done, slot);
	else
		disk_view_read_as(view, READ_AHEAD, slot->buffer, length,
			slot->start, slot_done, slot);
}

static void load_all(GPtrArray *loads)
{
	int64_t now = loads->len > 0 ? g_get_monotonic_time() : 0;

	for (guint i = 0; i < loads->len; i++)
		((Slot *)loads->pdata[i])->issued = now;
	for (guint i = 0; i < loads->len; i++)
		load(loads->pdata[i]);
}

static Reader *reader_new(ReadAhead *ahead, size_t length, uint64_t offset,
	ReadAheadDone *done, void *opaque)
{
	Reader *reader = g_new0(Reader, 1);

	reader->ahead = ahead_ref(ahead);
	reader->offset = offset;
	reader->end = offset + length;
	reader->done = done;
	reader->opaque = opaque;
	reader->link.data = reader;
	return reader;
}

void read_ahead_read(ReadAhead *ahead, size_t length, uint64_t offset,
	ReadAheadDone *done, void *opaque)
{
	Reader *reader = reader_new(ahead, length, offset, done, opaque);
	g_autoptr(GPtrArray) loads = g_ptr_array_new();
	bool held = false, wait = false;

	ahead_ref(ahead); /* with the last reply the file may be closed */
	g_mutex_lock(&ahead->lock);
	if (follow_locked(ahead, reader)) {
		extend_locked(ahead, reader, loads);
		held = take_slots_locked(ahead, reader);
		wait = held && is_loading_locked(reader);
	}
	if (wait)
		g_queue_push_tail_link(&ahead->waiting, &reader->link);
	g_mutex_unlock(&ahead->lock);
	load_all(loads);
	if (!held)
		hand_on(reader);
	else if (!wait)
		serve(reader);
	ahead_unref(ahead);
}
