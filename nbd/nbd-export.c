/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-export.h"

#include <errno.h>

#include "autofd.h"
#include "fleece-error.h"
#include "gather.h"
#include "nbd-bounce.h"
#include "nbd-connection.h"
#include "nbd-loop-member.h"
#include "nbd-request.h"

struct NbdExport {
	NbdLoopMember member;   /* the loop's */
	NbdLoop *loop;          /* const */
	NbdExportConfig config; /* const; name is ours */

	gint lost;       /* atomic: set once */
	gint connected;  /* atomic: there is a connection */
	gint trims_fail; /* atomic: one of them takes no trims */

	GMutex lock;        /* may be taken inside of drive */
	GQueue queue;       /* lock: NbdRequest, not yet admitted */
	GPtrArray *joining; /* lock: NbdConnection, likewise */

	/* Who has it drives the connections: the loop, or for a moment
	 * whoever has a request while the loop is asleep. */
	GMutex drive;
	GPtrArray *connections; /* drive: NbdConnection, and all in them */
	GQueue waiting;         /* drive: NbdRequest, to be issued */
	GQueue finished;        /* drive: NbdRequest, done() is due */
	const char *broken;     /* drive: why the export is to be lost */
	int64_t watched;        /* drive: when the loop wakes up at the latest
				 * to look at the deadlines */

	guint polled;           /* loop's thread: connections in its poll */
};

/* Moves all of from behind what is in to. */
static void queue_append(GQueue *to, GQueue *from)
{
	if (!from->head)
		return;
	if (to->tail) {
		to->tail->next = from->head;
		from->head->prev = to->tail;
	} else {
		to->head = from->head;
	}
	to->tail = from->tail;
	to->length += from->length;
	g_queue_init(from);
}

/* Takes over what was left in the queue. */
static void admit_driving(NbdExport *export)
{
	g_mutex_lock(&export->lock);
	queue_append(&export->waiting, &export->queue);
	for (guint i = 0; i < export->joining->len; i++) {
		NbdConnection *connection = export->joining->pdata[i];

		g_ptr_array_add(export->connections, connection);
		if (nbd_export_is_lost(export)) /* in the meantime */
			nbd_connection_close(connection);
	}
	g_ptr_array_set_size(export->joining, 0);
	g_mutex_unlock(&export->lock);
}

/* From here on nothing is sent or received; returns whether it was alive. */
static bool cut_off_driving(NbdExport *export)
{
	if (!g_atomic_int_compare_and_exchange(&export->lost, 0, 1))
		return false;
	for (guint i = 0; i < export->connections->len; i++)
		nbd_connection_close(export->connections->pdata[i]);
	return true;
}

static void finish_driving(NbdExport *export, NbdRequest *request, int error)
{
	request->error = error;
	g_queue_unlink(&export->waiting, &request->link);
	g_queue_push_tail_link(&export->finished, &request->link);
}

static bool has_room(const NbdExport *export)
{
	unsigned in_flight = 0;

	if (export->config.max_in_flight == 0)
		return true;
	for (guint i = 0; i < export->connections->len; i++)
		in_flight +=
			nbd_connection_in_flight(export->connections->pdata[i]);
	return in_flight < export->config.max_in_flight;
}

static bool may_carry(
	const NbdConnection *connection, const NbdRequest *request)
{
	return request->type != NBD_REQUEST_STATUS ||
	       nbd_connection_has_context(connection, request->context);
}

/* A request that is larger than all the room there is goes alone. */
static bool fits(const NbdExport *export, const NbdConnection *connection,
	const NbdRequest *request)
{
	uint64_t awaited = nbd_connection_awaited(connection);

	if (request->type != NBD_REQUEST_READ || export->config.room == 0 ||
		awaited == 0)
		return true;
	return awaited + NBD_REPLY_SIZE(request->length) <= export->config.room;
}

/*
 * The connection with the fewest requests in flight, NULL where there is none
 * now; *ever tells whether there can be one.
 */
static NbdConnection *pick(
	const NbdExport *export, const NbdRequest *request, bool *ever)
{
	unsigned least = NBD_CONNECTION_MAX_IN_FLIGHT;
	NbdConnection *best = NULL;

	*ever = false;
	for (guint i = 0; i < export->connections->len; i++) {
		NbdConnection *connection = export->connections->pdata[i];
		unsigned in_flight = nbd_connection_in_flight(connection);

		if (!may_carry(connection, request))
			continue;
		*ever = true;
		if (in_flight < least && fits(export, connection, request)) {
			best = connection;
			least = in_flight;
		}
	}
	return best;
}

/* Issues the request; returns false if it has to wait for another's end. */
static bool issue_one_driving(NbdExport *export, NbdRequest *request)
{
	bool ever;
	NbdConnection *connection = pick(export, request, &ever);

	if (!ever) {
		finish_driving(export, request,
			export->connections->len > 0 ? ENOTSUP : ENOTCONN);
		return true;
	}
	if (!connection)
		return false;
	g_queue_unlink(&export->waiting, &request->link);
	nbd_connection_issue(connection, request,
		g_get_monotonic_time() +
			(int64_t) export->config.read_timeout_ms * 1000);
	export->broken = nbd_connection_broken(connection);
	return true;
}

static void issue_driving(NbdExport *export)
{
	while (export->waiting.head && !nbd_export_is_lost(export)) {
		if (export->broken || !has_room(export) ||
			!issue_one_driving(export,
				export->waiting.head->data))
			return;
	}
	while (export->waiting.head)
		finish_driving(export, export->waiting.head->data, EIO);
}

/* What waits ends now, too: nobody may come to look after it.  The loop's
 * thread alone. */
static void lose(NbdExport *export, const char *why)
{
	bool was_alive;

	g_mutex_lock(&export->drive);
	was_alive = cut_off_driving(export);
	issue_driving(export);
	g_mutex_unlock(&export->drive);
	if (was_alive && export->config.lost)
		export->config.lost(export->config.opaque, why);
}

/* The loop's thread alone. */
static void deliver(NbdExport *export)
{
	GQueue finished = G_QUEUE_INIT;
	GList *link;

	g_mutex_lock(&export->drive);
	queue_append(&finished, &export->finished);
	g_mutex_unlock(&export->drive);
	while ((link = g_queue_pop_head_link(&finished))) {
		NbdRequest *request = link->data;

		request->done(request->opaque, request->error);
		g_free(request);
	}
}

static int64_t next_deadline_driving(const NbdExport *export)
{
	int64_t deadline = NBD_NEVER;

	for (guint i = 0; i < export->connections->len; i++) {
		int64_t theirs =
			nbd_connection_deadline(export->connections->pdata[i]);

		deadline = MIN(deadline, theirs);
	}
	return deadline;
}

/* What waits is sent before done() is called, which may take its time. */
static void step(NbdExport *export)
{
	const char *broken;

	g_mutex_lock(&export->drive);
	admit_driving(export);
	issue_driving(export);
	broken = export->broken;
	g_mutex_unlock(&export->drive);
	if (broken)
		lose(export, broken);
	deliver(export);
}

/* A deadline stays watched when its request has ended: the next request need
 * not wake the loop up then. */
static int64_t watch_driving(NbdExport *export)
{
	int64_t next = next_deadline_driving(export);

	if (next < export->watched ||
		export->watched <= g_get_monotonic_time())
		export->watched = next;
	return export->watched;
}

static int64_t export_prepare(NbdLoopMember *member, GArray *fds)
{
	NbdExport *export = (NbdExport *)member;
	int64_t watched;

	step(export);
	g_mutex_lock(&export->drive);
	export->polled = export->connections->len;
	for (guint i = 0; i < export->polled; i++) {
		struct pollfd fd =
			nbd_connection_pollfd(export->connections->pdata[i]);

		g_array_append_val(fds, fd);
	}
	watched = watch_driving(export);
	g_mutex_unlock(&export->drive);
	return watched;
}

static bool is_overdue(NbdExport *export)
{
	int64_t next;

	g_mutex_lock(&export->drive);
	next = next_deadline_driving(export);
	g_mutex_unlock(&export->drive);
	return next <= g_get_monotonic_time();
}

static void check_deadline(NbdExport *export)
{
	g_autofree char *why = NULL;

	if (!is_overdue(export))
		return;
	why = g_strdup_printf("the NBD server gave no answer in %u ms",
		export->config.read_timeout_ms);
	lose(export, why);
}

/* Goes on with what poll(2) has found. */
static void notify(NbdExport *export, const struct pollfd *fds)
{
	g_mutex_lock(&export->drive);
	for (guint i = 0; i < export->polled; i++) {
		NbdConnection *connection = export->connections->pdata[i];

		nbd_connection_notify(connection, fds[i].revents);
		if (!export->broken)
			export->broken = nbd_connection_broken(connection);
	}
	g_mutex_unlock(&export->drive);
}

static void export_dispatch(NbdLoopMember *member, const struct pollfd *fds)
{
	NbdExport *export = (NbdExport *)member;

	notify(export, fds);
	check_deadline(export);
	step(export);
}

static bool is_idle(NbdExport *export)
{
	bool idle;

	g_mutex_lock(&export->drive);
	admit_driving(export);
	idle = !export->waiting.head;
	g_mutex_unlock(&export->drive);
	return idle;
}

static void export_let_go(NbdLoopMember *member)
{
	NbdExport *export = (NbdExport *)member;

	g_mutex_lock(&export->drive);
	admit_driving(export);
	cut_off_driving(export);
	g_mutex_unlock(&export->drive);
	/* A done() that starts another request gets its end here, too. */
	do {
		step(export);
	} while (!is_idle(export));
}

NbdExport *nbd_export_new(NbdLoop *loop, const NbdExportConfig *config)
{
	NbdExport *export = g_new0(NbdExport, 1);

	g_assert(config->read_timeout_ms > 0);
	export->member.prepare = export_prepare;
	export->member.dispatch = export_dispatch;
	export->member.let_go = export_let_go;
	export->loop = loop;
	export->config = *config;
	export->config.name = g_strdup(config->name);
	export->watched = NBD_NEVER;
	g_mutex_init(&export->lock);
	g_mutex_init(&export->drive);
	g_queue_init(&export->queue);
	g_queue_init(&export->waiting);
	g_queue_init(&export->finished);
	export->joining = g_ptr_array_new();
	export->connections = g_ptr_array_new_with_free_func(
		(GDestroyNotify)nbd_connection_free);
	nbd_loop_add(loop, &export->member);
	return export;
}

void nbd_export_free(NbdExport *export)
{
	nbd_loop_remove(export->loop, &export->member);
	g_ptr_array_unref(export->connections);
	g_ptr_array_unref(export->joining);
	g_mutex_clear(&export->drive);
	g_mutex_clear(&export->lock);
	g_free((char *)export->config.name);
	g_free(export);
}

static bool check_size(const NbdExport *export, const NbdConnection *connection,
	GError **error)
{
	uint64_t size = nbd_connection_size(connection);

	if (size == export->config.size)
		return true;
	fleece_set_error(error, EIO,
		"the NBD server has %" G_GUINT64_FORMAT
		" bytes where %" G_GUINT64_FORMAT " were expected",
		size, export->config.size);
	return false;
}

static bool check_not_lost(const NbdExport *export, GError **error)
{
	if (!nbd_export_is_lost(export))
		return true;
	fleece_set_error(error, EIO, "is lost");
	return false;
}

static void hand_over(NbdExport *export, NbdConnection *connection)
{
	if (!nbd_connection_can_trim(connection))
		g_atomic_int_set(&export->trims_fail, 1);
	g_atomic_int_set(&export->connected, 1);
	g_mutex_lock(&export->lock);
	g_ptr_array_add(export->joining, connection);
	g_mutex_unlock(&export->lock);
	nbd_loop_kick(export->loop);
}

/* Takes the connection, which was opened or was not. */
static bool join_take(NbdExport *export, NbdConnection *connection,
	bool opened, GError **error)
{
	if (opened && check_size(export, connection, error)) {
		hand_over(export, connection);
		return true;
	}
	nbd_connection_free(connection);
	g_prefix_error(error, "NBD export \"%s\": ", export->config.name);
	return false;
}

bool nbd_export_connect_take(
	NbdExport *export, int fd, const char *context, GError **error)
{
	NbdConnection *connection = nbd_connection_new(&export->finished);
	AUTOFD int mine = fd;
	bool opened = check_not_lost(export, error) &&
		nbd_connection_open_take(connection, autofd_steal(&mine),
			export->config.name, context, export->config.timeout_ms,
			error);

	return join_take(export, connection, opened, error);
}

bool nbd_export_connect_server(NbdExport *export, const NbdServer *server,
	const char *const *contexts, GError **error)
{
	NbdConnection *connection = nbd_connection_new(&export->finished);
	bool opened = check_not_lost(export, error) &&
		nbd_connection_open_server(connection, server,
			export->config.name, contexts, error);

	return join_take(export, connection, opened, error);
}

bool nbd_export_can_trim(const NbdExport *export)
{
	return g_atomic_int_get(&export->connected) &&
	       !g_atomic_int_get(&export->trims_fail);
}

bool nbd_export_is_lost(const NbdExport *export)
{
	return g_atomic_int_get(&export->lost);
}

const NbdExportConfig *nbd_export_config(const NbdExport *export)
{
	return &export->config;
}

/* Whether the loop has anything to do but to wait for the connections. */
static bool needs_loop_driving(const NbdExport *export)
{
	if (export->broken || export->finished.head ||
		export->watched == NBD_NEVER)
		return true;
	for (guint i = 0; i < export->connections->len; i++) {
		if (nbd_connection_pollfd(export->connections->pdata[i])
				.events & POLLOUT)
			return true;
	}
	return false;
}

/* Sends what is in the queue, unless somebody else drives: to wake the loop
 * up for that costs more.  Whether there is nothing left for it to do. */
static bool send_now(NbdExport *export)
{
	bool needs_loop;

	if (!g_mutex_trylock(&export->drive))
		return false;
	admit_driving(export);
	issue_driving(export);
	needs_loop = needs_loop_driving(export);
	g_mutex_unlock(&export->drive);
	return !needs_loop;
}

void nbd_export_submit_take(NbdExport *export, NbdRequest *request)
{
	request->link.data = request;
	g_mutex_lock(&export->lock);
	g_queue_push_tail_link(&export->queue, &request->link);
	g_mutex_unlock(&export->lock);
	if (!send_now(export))
		nbd_loop_kick(export->loop);
}

static void submit_read(NbdExport *export, void *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque)
{
	NbdRequest *request = g_new0(NbdRequest, 1);

	request->type = NBD_REQUEST_READ;
	request->buffer = buffer;
	request->length = length;
	request->offset = offset;
	request->done = done;
	request->opaque = opaque;
	nbd_export_submit_take(export, request);
}

static void submit_pieces(NbdExport *export, char *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque)
{
	unsigned piece = export->config.piece;
	Gather *gather = gather_new(done, opaque);

	while (length > 0) {
		size_t part = MIN(length, piece - offset % piece);

		gather_add(gather);
		submit_read(export, buffer, part, offset, gather_part_done,
			gather);
		buffer += part;
		offset += part;
		length -= part;
	}
	gather_part_done(gather, 0);
}

void nbd_export_read_async(NbdExport *export, void *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque)
{
	unsigned piece = export->config.piece;

	if (nbd_bounce_is_needed(export, length, offset))
		nbd_bounce_read(export, buffer, length, offset, done, opaque);
	else if (piece == 0 || offset % piece + length <= piece)
		submit_read(export, buffer, length, offset, done, opaque);
	else
		submit_pieces(export, buffer, length, offset, done, opaque);
}

void nbd_export_trim_async(NbdExport *export, uint64_t length, uint64_t offset,
	NbdDone *done, void *opaque)
{
	NbdRequest *request = g_new0(NbdRequest, 1);

	request->type = NBD_REQUEST_TRIM;
	request->length = length;
	request->offset = offset;
	request->done = done;
	request->opaque = opaque;
	nbd_export_submit_take(export, request);
}
