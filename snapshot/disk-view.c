/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk-view-struct.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "scratch.h"

DiskView *disk_view_new_take(const char *name, const char *id, uint64_t size,
	int scratch_fd)
{
	DiskView *view = g_new0(DiskView, 1);

	view->name = g_strdup(name);
	view->id = g_strdup(id);
	view->size = size;
	view->scratch_fd = scratch_fd;
	view->cluster = scratch_fd < 0 ? 0 : FLEECE_CLUSTER;
	view->freed = range_set_new();
	view->buffers = buffer_pool_new(READ_AHEAD_BUFFER, READ_AHEAD_BUFFERS);
	g_mutex_init(&view->lock);
	g_cond_init(&view->idle);
	g_queue_init(&view->reads);
	g_queue_init(&view->trims);
	view->owed = g_array_new(FALSE, FALSE, sizeof(Range));
	return view;
}

void disk_view_set_foreign(DiskView *view, unsigned cluster)
{
	view->foreign = true;
	view->cluster = cluster;
}

void disk_view_free(DiskView *view)
{
	if (!view)
		return;
	g_assert(!view->export);
	g_clear_pointer(&view->mapfile, map_text_free);
	g_clear_pointer(&view->json, map_text_free);
	g_clear_pointer(&view->extents, extent_list_free);
	range_set_free(view->freed);
	g_array_unref(view->owed);
	buffer_pool_free(view->buffers);
	autofd_clear(&view->scratch_fd);
	g_mutex_clear(&view->lock);
	g_cond_clear(&view->idle);
	g_free(view->failed_why);
	g_free(view->name);
	g_free(view->id);
	g_free(view);
}

bool disk_view_attach_take(DiskView *view, NbdExport *export,
	const ExtentList *allocation, const ExtentList *dirty, GError **error)
{
	g_autoptr(ExtentList) all = extent_list_new_uniform(view->size,
		EXTENT_DIRTY);

	view->export = export;
	view->extents = extent_list_union(allocation, dirty ? dirty : all);
	if (!view->extents) {
		fleece_set_error_errno(error, ENOMEM, "allocation map");
		return false;
	}
	view->allocated = extent_list_total(view->extents, EXTENT_ZERO, 0);
	view->dirty = extent_list_total(view->extents, EXTENT_DIRTY,
		EXTENT_DIRTY);
	view->mapfile = map_text_new(view->extents, MAP_FORMAT_MAPFILE);
	view->json = map_text_new(view->extents, MAP_FORMAT_JSON);
	return true;
}

/* Sets the error that all reads end with, once, and tells the owner. */
static void fail_by_itself(DiskView *view, int errnum, const char *why)
{
	void (*failed)(void *, int, const char *);

	g_mutex_lock(&view->lock);
	if (view->error || view->closing) {
		g_mutex_unlock(&view->lock);
		return;
	}
	view->error = errnum;
	view->failed_why = g_strdup(why);
	failed = view->failed;
	g_mutex_unlock(&view->lock);
	if (failed)
		failed(view->failed_opaque, errnum, why);
}

void disk_view_lost(void *view, const char *why)
{
	fail_by_itself(view, EIO, why);
}

void disk_view_set_failed(DiskView *view,
	void (*failed)(void *opaque, int errnum, const char *why),
	void *opaque)
{
	const char *why;

	g_mutex_lock(&view->lock);
	view->failed = failed;
	view->failed_opaque = opaque;
	why = view->failed_why;
	g_mutex_unlock(&view->lock);
	if (why)
		failed(opaque, view->error, why);
}

void disk_view_fail(DiskView *view, int errnum)
{
	g_mutex_lock(&view->lock);
	if (!view->error)
		view->error = errnum;
	g_mutex_unlock(&view->lock);
}

bool disk_view_enter_locked(DiskView *view)
{
	if (view->closing || !view->export)
		return false;
	view->users++;
	return true;
}

void disk_view_leave(DiskView *view)
{
	g_mutex_lock(&view->lock);
	if (--view->users == 0)
		g_cond_broadcast(&view->idle);
	g_mutex_unlock(&view->lock);
}

static int take_scratch(DiskView *view)
{
	int fd;

	g_mutex_lock(&view->lock);
	fd = autofd_steal(&view->scratch_fd);
	g_mutex_unlock(&view->lock);
	return fd;
}

/* Gives its space back, which can take long: not with the lock held. */
static void empty_scratch(DiskView *view)
{
	AUTOFD int fd = take_scratch(view);

	/* a paused QEMU may hold on to its duplicate for a while */
	if (fd >= 0 && ftruncate(fd, 0) < 0)
		g_debug("disk %s: scratch: %s", view->id, g_strerror(errno));
}

void disk_view_leave_scratch(DiskView *view)
{
	int fd = take_scratch(view);

	autofd_clear(&fd);
}

void disk_view_close(DiskView *view)
{
	NbdExport *export;

	g_mutex_lock(&view->lock);
	if (!view->error)
		view->error = ESTALE;
	view->closing = true;
	while (view->users)
		g_cond_wait(&view->idle, &view->lock);
	export = g_steal_pointer(&view->export);
	g_mutex_unlock(&view->lock);
	/* its completions still find the view */
	g_clear_pointer(&export, nbd_export_free);
	empty_scratch(view);
}

/* Whether QEMU's snapshot-access says with this error that the range may not
 * be read: it was trimmed, the snapshot broke, or its filter is gone. */
static bool is_denied(int error)
{
	return error == EINVAL || error == EOPNOTSUPP || error == EACCES;
}

/* What nobody else knows the reason of is said once. */
static void say_refused(DiskView *view, const ReadOp *op, int error)
{
	bool said;

	g_mutex_lock(&view->lock);
	said = view->refused;
	view->refused = true;
	g_mutex_unlock(&view->lock);
	if (!said)
		g_warning("disk %s: the NBD server refused to read %"
			G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT ": %s",
			view->id, op->end - op->start, op->start,
			g_strerror(error));
}

/* What the reader gets for the error that the server sent. */
static int read_result(DiskView *view, const ReadOp *op, int error)
{
	bool denied = is_denied(error);
	int result;

	g_mutex_lock(&view->lock);
	if (view->error)
		result = view->error;
	else if (denied && range_set_overlaps(view->freed, op->start, op->end))
		result = ENODATA;
	else
		result = denied && !view->foreign ? ESTALE : EIO;
	g_mutex_unlock(&view->lock);
	if (view->foreign && result == EIO)
		say_refused(view, op, error);
	else if (denied && result == ESTALE)
		fail_by_itself(view, ESTALE,
			"QEMU broke the snapshot: its scratch space failed, "
			"was full or too slow, and the guest went on");
	return result;
}

static void count_read_locked(DiskView *view, const ReadOp *op, int result)
{
	if (op->kind == READ_AHEAD)
		return;
	if (!result)
		view->stats.read += op->end - op->start;
	else if (result != ENODATA)
		view->stats.failed_reads++;
}

/* What QEMU has read from a scratch that failed need not be what it had put
 * there. */
int disk_view_check_scratch(DiskView *view)
{
	g_autofree char *why = NULL;
	bool failed;
	int lost;

	g_mutex_lock(&view->lock);
	lost = view->scratch_fd < 0 ? 0 :
		scratch_lost(view->scratch_fd, view->size);
	view->scratch_failed |= lost != 0;
	failed = view->scratch_failed;
	g_mutex_unlock(&view->lock);
	if (lost) {
		why = g_strdup_printf("its scratch space failed: what was "
			"written to it could not be stored: %s",
			g_strerror(lost));
		fail_by_itself(view, ESTALE, why);
	}
	return failed ? ESTALE : 0;
}

static void read_done(void *opaque, int error)
{
	ReadOp *op = opaque;
	DiskView *view = op->view;
	int result = error ? read_result(view, op, error) :
			     disk_view_check_scratch(view);
	bool waiting;

	g_mutex_lock(&view->lock);
	g_queue_unlink(&view->reads, &op->link);
	count_read_locked(view, op, result);
	waiting = view->trims.length > 0;
	g_mutex_unlock(&view->lock);
	op->done(op->opaque, result);
	g_free(op);
	if (waiting)
		disk_view_issue_trims(view);
}

static bool is_hole(const DiskView *view, uint64_t start, uint64_t end)
{
	return extent_list_next(view->extents, start, EXTENT_ZERO, 0) >= end;
}

/* Registers the read, which of a hole is over at once; an errno where it must
 * not begin. */
static int begin_read(DiskView *view, ReadOp *op, bool hole)
{
	int error = 0;

	g_mutex_lock(&view->lock);
	if (view->error)
		error = view->error;
	else if (range_set_overlaps(view->freed, op->start, op->end))
		error = ENODATA;
	else if (!hole && !disk_view_enter_locked(view))
		error = ESTALE;
	if (error || hole)
		count_read_locked(view, op, error);
	else
		g_queue_push_tail_link(&view->reads, &op->link);
	g_mutex_unlock(&view->lock);
	return error;
}

void disk_view_read_as(DiskView *view, enum read_kind kind, void *buffer,
	size_t length, uint64_t offset, DiskDone *done, void *opaque)
{
	ReadOp *op = g_new0(ReadOp, 1);
	bool hole = is_hole(view, offset, offset + length);
	int error;

	*op = (ReadOp){ view, kind, offset, offset + length, done, opaque,
		{ .data = op } };
	error = begin_read(view, op, hole);
	if (error || hole) {
		g_free(op);
		if (!error)
			memset(buffer, 0, length);
		done(opaque, error);
		return;
	}
	nbd_export_read_async(view->export, buffer, length, offset, read_done,
		op);
	disk_view_leave(view);
}

void disk_view_read(DiskView *view, void *buffer, size_t length,
	uint64_t offset, DiskDone *done, void *opaque)
{
	disk_view_read_as(view, READ_ASKED, buffer, length, offset, done,
		opaque);
}

int disk_view_may_read(DiskView *view, enum read_kind kind, uint64_t length,
	uint64_t offset)
{
	ReadOp op = { .kind = kind, .start = offset, .end = offset + length };

	return begin_read(view, &op, true);
}

BufferPool *disk_view_buffers(DiskView *view)
{
	return view->buffers;
}

uint64_t disk_view_next_kept(DiskView *view, uint64_t offset)
{
	uint64_t kept;

	g_mutex_lock(&view->lock);
	kept = range_set_next_gap(view->freed, offset);
	g_mutex_unlock(&view->lock);
	return kept;
}

bool disk_view_takes_trims(const DiskView *view)
{
	return view->cluster;
}

unsigned disk_view_opened(DiskView *view)
{
	unsigned number;

	g_mutex_lock(&view->lock);
	view->open++;
	number = ++view->openings;
	g_mutex_unlock(&view->lock);
	return number;
}

void disk_view_closed(DiskView *view)
{
	g_mutex_lock(&view->lock);
	view->open--;
	g_mutex_unlock(&view->lock);
}

bool disk_view_is_newest_opening(DiskView *view, unsigned number)
{
	bool newest;

	g_mutex_lock(&view->lock);
	newest = view->openings == number;
	g_mutex_unlock(&view->lock);
	return newest;
}

bool disk_view_is_open_twice(DiskView *view)
{
	bool twice;

	g_mutex_lock(&view->lock);
	twice = view->open > 1;
	g_mutex_unlock(&view->lock);
	return twice;
}

const char *disk_view_name(const DiskView *view)
{
	return view->name;
}

const char *disk_view_id(const DiskView *view)
{
	return view->id;
}

uint64_t disk_view_size(const DiskView *view)
{
	return view->size;
}

bool disk_view_has_scratch(DiskView *view)
{
	bool has;

	g_mutex_lock(&view->lock);
	has = view->scratch_fd >= 0;
	g_mutex_unlock(&view->lock);
	return has;
}

const ExtentList *disk_view_extents(const DiskView *view)
{
	return view->extents;
}

uint64_t disk_view_allocated(const DiskView *view)
{
	return view->allocated;
}

uint64_t disk_view_dirty(const DiskView *view)
{
	return view->dirty;
}

const MapText *disk_view_map_text(const DiskView *view, enum map_format format)
{
	return format == MAP_FORMAT_MAPFILE ? view->mapfile : view->json;
}

void disk_view_stats(DiskView *view, DiskStats *stats)
{
	g_mutex_lock(&view->lock);
	*stats = view->stats;
	stats->scratch = view->scratch_fd < 0 ? 0 :
		scratch_used(view->scratch_fd);
	g_mutex_unlock(&view->lock);
}
