/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk-view-read.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "range-set.h"
#include "scratch.h"

#define TRIM_MAX (UINT64_C(1) << 30)

typedef struct {
	DiskView *view;
	enum read_kind kind;
	uint64_t start, end;
	DiskDone *done;
	void *opaque;
	GList link; /* in view->reads, guarded by view->lock */
} ReadOp;

typedef struct {
	DiskView *view;
	uint64_t start, end;  /* what is to be trimmed, cluster-aligned */
	uint64_t chunk_end;   /* how far the trim under way goes */
	DiskDone *done;
	void *opaque;
	GList link; /* in view->trims while it waits for reads */
} TrimOp;

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
	DiskStats stats;       /* without scratch; lock */
	bool refused;          /* a read was, and it was said; lock */
	void (*failed)(void *, int, const char *); /* lock */
	void *failed_opaque;   /* lock */
	char *failed_why;      /* why error was set by ourselves; lock */
};

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

/* Every call into the export stands between these two, so that close can
 * wait for the last one. enter fails where there is nothing to call. */
static bool enter_export_locked(DiskView *view)
{
	if (view->closing || !view->export)
		return false;
	view->users++;
	return true;
}

static void leave_export(DiskView *view)
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

static void issue_trim(TrimOp *op);

static void end_trim(TrimOp *op, int error)
{
	op->done(op->opaque, error);
	g_free(op);
}

/* What the one who punched gets for the error that the server sent. */
static int trim_result(DiskView *view, int error)
{
	g_mutex_lock(&view->lock);
	if (error && view->error)
		error = view->error;
	g_mutex_unlock(&view->lock);
	return error;
}

static void trim_done(void *opaque, int error)
{
	TrimOp *op = opaque;

	op->start = op->chunk_end;
	if (error || op->start == op->end)
		end_trim(op, trim_result(op->view, error));
	else
		issue_trim(op);
}

/* Sends the next piece of the trim. */
static void issue_trim(TrimOp *op)
{
	DiskView *view = op->view;
	bool entered;

	g_mutex_lock(&view->lock);
	entered = enter_export_locked(view);
	g_mutex_unlock(&view->lock);
	if (!entered) {
		end_trim(op, ESTALE);
		return;
	}
	op->chunk_end = MIN(op->end, op->start + TRIM_MAX);
	nbd_export_trim_async(view->export, op->chunk_end - op->start,
		op->start, trim_done, op);
	leave_export(view);
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

static void issue_ready_trims(DiskView *view)
{
	TrimOp *op;

	while ((op = next_trim(view)))
		issue_trim(op);
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
		issue_ready_trims(view);
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
	else if (!hole && !enter_export_locked(view))
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
	leave_export(view);
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

/* Marks the range as freed.  Queues a trim and returns true where whole
 * clusters became free by it. */
static bool queue_trim(DiskView *view, uint64_t start, uint64_t end,
	DiskDone *done, void *opaque)
{
	Range grown, clusters;
	bool trim;

	g_mutex_lock(&view->lock);
	trim = !range_set_contains(view->freed, start, end);
	grown = range_set_add(view->freed, start, end);
	view->stats.freed = range_set_total(view->freed);
	trim = trim && view->cluster &&
		range_whole_clusters(grown, start, end, view->cluster,
			view->size, &clusters);
	if (trim) {
		TrimOp *op = g_new0(TrimOp, 1);

		*op = (TrimOp){ view, clusters.start, clusters.end,
			clusters.start, done, opaque, { .data = op } };
		g_queue_push_tail_link(&view->trims, &op->link);
	}
	g_mutex_unlock(&view->lock);
	return trim;
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
	else if (queue_trim(view, offset, end, done, opaque))
		issue_ready_trims(view);
	else
		done(opaque, 0);
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
