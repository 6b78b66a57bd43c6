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

	GMutex lock;
	GQueue queue;       /* lock: NbdRequest, not yet seen by the loop */
	GPtrArray *joining; /* lock: NbdConnection, likewise */

	GPtrArray *connections; /* loop's thread: NbdConnection */
	GQueue waiting;         /* loop's thread: NbdRequest, to be issued */
	GQueue finished;        /* loop's thread: NbdRequest, done() is due */
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

/* Takes over what other threads have left for the loop's. */
static void admit(NbdExport *export)
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
static bool cut_off(NbdExport *export)
{
	if (!g_atomic_int_compare_and_exchange(&export->lost, 0, 1))
		return false;
	for (guint i = 0; i < export->connections->len; i++)
		nbd_connection_close(export->connections->pdata[i]);
	return true;
}

static void lose(NbdExport *export, const char *why)
{
	if (cut_off(export) && export->config.lost)
		export->config.lost(export->config.opaque, why);
}

static void finish(NbdExport *export, NbdRequest *request, int error)
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
static bool issue_one(NbdExport *export, NbdRequest *request)
{
	bool ever;
	NbdConnection *connection = pick(export, request, &ever);

	if (!ever) {
		finish(export, request,
			export->connections->len > 0 ? ENOTSUP : ENOTCONN);
		return true;
	}
	if (!connection)
		return false;
	g_queue_unlink(&export->waiting, &request->link);
	nbd_connection_issue(connection, request,
		g_get_monotonic_time() +
			(int64_t) export->config.read_timeout_ms * 1000);
	if (nbd_connection_broken(connection))
		lose(export, nbd_connection_broken(connection));
	return true;
}

static void issue(NbdExport *export)
{
	while (export->waiting.head && !nbd_export_is_lost(export)) {
		if (!has_room(export) ||
			!issue_one(export, export->waiting.head->data))
			return;
	}
	while (export->waiting.head)
		finish(export, export->waiting.head->data, EIO);
}

/* Ends with what done() calls have queued meanwhile still in the queue. */
static void deliver(NbdExport *export)
{
	GList *link;

	while ((link = g_queue_pop_head_link(&export->finished))) {
		NbdRequest *request = link->data;

		request->done(request->opaque, request->error);
		g_free(request);
	}
}

static int64_t next_deadline(const NbdExport *export)
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
	admit(export);
	issue(export);
	deliver(export);
}

static int64_t export_prepare(NbdLoopMember *member, GArray *fds)
{
	NbdExport *export = (NbdExport *)member;

	step(export);
	for (guint i = 0; i < export->connections->len; i++) {
		struct pollfd fd =
			nbd_connection_pollfd(export->connections->pdata[i]);

		g_array_append_val(fds, fd);
	}
	return next_deadline(export);
}

static void check_deadline(NbdExport *export)
{
	g_autofree char *why = NULL;

	if (next_deadline(export) > g_get_monotonic_time())
		return;
	why = g_strdup_printf("the NBD server gave no answer in %u ms",
		export->config.read_timeout_ms);
	lose(export, why);
}

static void export_dispatch(NbdLoopMember *member, const struct pollfd *fds)
{
	NbdExport *export = (NbdExport *)member;

	for (guint i = 0; i < export->connections->len; i++)
		nbd_connection_notify(
			export->connections->pdata[i], fds[i].revents);
	for (guint i = 0; i < export->connections->len; i++) {
		const char *why =
			nbd_connection_broken(export->connections->pdata[i]);

		if (why)
			lose(export, why);
	}
	check_deadline(export);
	step(export);
}

static void export_let_go(NbdLoopMember *member)
{
	NbdExport *export = (NbdExport *)member;

	admit(export);
	cut_off(export);
	/* A done() that starts another request gets its end here, too. */
	do {
		step(export);
		admit(export);
	} while (export->waiting.head);
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
	g_mutex_init(&export->lock);
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

void nbd_export_submit_take(NbdExport *export, NbdRequest *request)
{
	request->link.data = request;
	g_mutex_lock(&export->lock);
	g_queue_push_tail_link(&export->queue, &request->link);
	g_mutex_unlock(&export->lock);
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
