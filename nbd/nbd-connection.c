/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-connection.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <libnbd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "nbd-handshake.h"
#include "nbd-loop-member.h"

struct NbdConnection {
	/* Set by who opens it, const from then on. */
	char **contexts; /* ends with NULL */
	uint64_t size;
	bool can_trim;
	uint32_t read_flags;

	/* The opening thread's, then that of who drives the export. */
	struct nbd_handle *handle; /* NULL when closed */
	GQueue in_flight;          /* NbdRequest, the oldest first */
	uint64_t awaited;          /* bytes of their replies */
	GQueue *finished;          /* NbdRequest */
	char *broken;              /* why, or NULL */
};

NbdConnection *nbd_connection_new(GQueue *finished)
{
	NbdConnection *connection = g_new0(NbdConnection, 1);

	g_queue_init(&connection->in_flight);
	connection->finished = finished;
	return connection;
}

void nbd_connection_free(NbdConnection *connection)
{
	nbd_connection_close(connection);
	g_strfreev(connection->contexts);
	g_free(connection->broken);
	g_free(connection);
}

uint64_t nbd_connection_size(const NbdConnection *connection)
{
	return connection->size;
}

bool nbd_connection_can_trim(const NbdConnection *connection)
{
	return connection->can_trim;
}

bool nbd_connection_has_context(
	const NbdConnection *connection, const char *context)
{
	return g_strv_contains((const char *const *)connection->contexts,
		context);
}

/*
 * libnbd need not clear the buffer of a read first: request_end() lets no
 * read succeed that has not filled all of it.
 */
static bool configure(NbdConnection *connection, const char *const *contexts,
	GError **error)
{
	struct nbd_handle *handle = nbd_create();

	connection->handle = handle;
	connection->contexts = g_strdupv((char **)contexts);
	if (!handle || nbd_set_pread_initialize(handle, false) < 0)
		return nbd_handshake_error(error);
	return true;
}

static bool start_take(struct nbd_handle *handle, const char *name,
	const char *context, int fd, GError **error)
{
	AUTOFD int mine = fd;

	if (nbd_set_export_name(handle, name) < 0 ||
	    (context && nbd_add_meta_context(handle, context) < 0))
		return nbd_handshake_error(error);
	if (nbd_aio_connect_socket(handle, fd) == 0) {
		autofd_steal(&mine);
		return true;
	}
	nbd_handshake_error(error);
	/* Where it failed later than at its first look, it has closed fd. */
	if (nbd_aio_is_created(handle) != 1)
		autofd_steal(&mine);
	return false;
}

static bool ask_what_it_is(NbdConnection *connection, GError **error)
{
	struct nbd_handle *handle = connection->handle;
	int64_t size = nbd_get_size(handle);

	if (size < 0)
		return nbd_handshake_error(error);
	connection->size = (uint64_t)size;
	connection->can_trim = nbd_can_trim(handle) == 1;
	/* In one chunk: QEMU then does not look for holes before each read;
	 * what is a hole is known here. */
	if (nbd_can_df(handle) == 1)
		connection->read_flags = LIBNBD_CMD_FLAG_DF;
	for (char **context = connection->contexts; *context; context++) {
		if (nbd_can_meta_context(handle, *context) == 1)
			continue;
		fleece_set_error(error, ENOTSUP,
			"the NBD server has no metadata context %s", *context);
		return false;
	}
	return true;
}

bool nbd_connection_open_take(NbdConnection *connection, int fd,
	const char *name, const char *context, unsigned timeout_ms,
	GError **error)
{
	const char *const contexts[] = { context, NULL };
	AUTOFD int mine = fd;

	return configure(connection, contexts, error) &&
	       start_take(connection->handle, name, context,
		       autofd_steal(&mine), error) &&
	       nbd_handshake_wait(connection->handle, timeout_ms, error) &&
	       ask_what_it_is(connection, error);
}

bool nbd_connection_open_server(NbdConnection *connection,
	const NbdServer *server, const char *name, const char *const *contexts,
	GError **error)
{
	return configure(connection, contexts, error) &&
	       nbd_handshake_dial(connection->handle, server, error) &&
	       nbd_handshake_go(connection->handle, name, contexts,
		       server->timeout_ms, error) &&
	       ask_what_it_is(connection, error);
}

static uint64_t reply_size(const NbdRequest *request)
{
	return NBD_REPLY_SIZE(
		request->type == NBD_REQUEST_READ ? request->length : 0);
}

/* No callback of libnbd may call libnbd: the request is only put aside. */
static void request_end(NbdRequest *request, int error)
{
	NbdConnection *connection = request->connection;

	if (!error && request->type == NBD_REQUEST_READ &&
		request->seen != request->length)
		error = EPROTO;
	/* It waits for us to go, and will answer nothing any more. */
	if (error == ESHUTDOWN && !connection->broken)
		connection->broken =
			g_strdup("the NBD server is shutting down");
	/* What libnbd says of requests that its death cut off. */
	request->error = error == ENOTCONN ? EIO : error;
	request->connection = NULL;
	connection->awaited -= reply_size(request);
	g_queue_unlink(&connection->in_flight, &request->link);
	g_queue_push_tail_link(connection->finished, &request->link);
}

static int on_completion(void *opaque, int *error)
{
	request_end(opaque, *error);
	return 1; /* libnbd forgets the command */
}

/*
 * Pieces of a read must come in order and without gaps, as those of QEMU and
 * nbdkit do: then their sum tells whether the buffer is full.
 */
static int on_chunk(void *opaque, const void *data G_GNUC_UNUSED, size_t count,
	uint64_t offset, unsigned status, int *error)
{
	NbdRequest *request = opaque;

	if (status == LIBNBD_READ_ERROR)
		return 0; /* *error has it, and the completion will, too */
	if (offset != request->offset + request->seen) {
		*error = EPROTO;
		return -1;
	}
	request->seen += count;
	return 0;
}

/* libnbd reports a broken connection by its state, not by each call. */
static void check_alive(NbdConnection *connection)
{
	struct nbd_handle *handle = connection->handle;

	if (connection->broken)
		return;
	if (nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1)
		connection->broken =
			g_strdup("the NBD server closed the connection");
}

static void set_broken(NbdConnection *connection)
{
	const char *words = nbd_get_error();

	if (!connection->broken)
		connection->broken = g_strdup(words ? words : "libnbd failed");
}

static int64_t send_request(
	const NbdConnection *connection, NbdRequest *request)
{
	struct nbd_handle *handle = connection->handle;
	nbd_completion_callback end = {
		.callback = on_completion, .user_data = request};
	nbd_chunk_callback chunk = {.callback = on_chunk, .user_data = request};

	switch (request->type) {
	case NBD_REQUEST_READ:
		return nbd_aio_pread_structured(handle, request->buffer,
			request->length, request->offset, chunk, end,
			connection->read_flags);
	case NBD_REQUEST_TRIM:
		return nbd_aio_trim(
			handle, request->length, request->offset, end, 0);
	case NBD_REQUEST_STATUS:
		return nbd_aio_block_status(handle, request->length,
			request->offset, request->extents, end, 0);
	}
	g_assert_not_reached();
}

void nbd_connection_issue(
	NbdConnection *connection, NbdRequest *request, int64_t deadline)
{
	request->connection = connection;
	request->deadline = deadline;
	g_queue_push_tail_link(&connection->in_flight, &request->link);
	connection->awaited += reply_size(request);
	/* A cookie only says that libnbd has queued it: it may have failed
	 * and completed already, and what is returned then was read from
	 * memory that libnbd (1.14) had freed.  One that has not completed,
	 * and has no cookie, never will. */
	if (send_request(connection, request) < 0 && request->connection) {
		int errnum = nbd_get_errno();

		check_alive(connection);
		if (connection->broken || errnum <= 0)
			errnum = EIO;
		request_end(request, errnum);
	}
	check_alive(connection);
}

unsigned nbd_connection_in_flight(const NbdConnection *connection)
{
	return connection->in_flight.length;
}

uint64_t nbd_connection_awaited(const NbdConnection *connection)
{
	return connection->awaited;
}

int64_t nbd_connection_deadline(const NbdConnection *connection)
{
	const GList *oldest = connection->in_flight.head;

	return oldest ? ((NbdRequest *)oldest->data)->deadline : NBD_NEVER;
}

struct pollfd nbd_connection_pollfd(const NbdConnection *connection)
{
	struct pollfd fd = {.fd = -1};
	unsigned direction;

	if (!connection->handle || connection->broken)
		return fd;
	direction = nbd_aio_get_direction(connection->handle);
	fd.fd = nbd_aio_get_fd(connection->handle);
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		fd.events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		fd.events |= POLLOUT;
	return fd;
}

static bool wants_to_write(struct nbd_handle *handle)
{
	return nbd_aio_get_direction(handle) & LIBNBD_AIO_DIRECTION_WRITE;
}

void nbd_connection_notify(NbdConnection *connection, short revents)
{
	struct nbd_handle *handle = connection->handle;

	if (!handle || connection->broken || !revents)
		return;
	if (revents & ~POLLOUT) {
		if (nbd_aio_notify_read(handle) < 0)
			set_broken(connection);
		check_alive(connection);
	}
	/* Reading may have changed what libnbd waits for. */
	if ((revents & POLLOUT) && !connection->broken &&
		wants_to_write(handle)) {
		if (nbd_aio_notify_write(handle) < 0)
			set_broken(connection);
		check_alive(connection);
	}
}

const char *nbd_connection_broken(const NbdConnection *connection)
{
	return connection->broken;
}

void nbd_connection_close(NbdConnection *connection)
{
	g_clear_pointer(&connection->handle, nbd_close);
	while (connection->in_flight.head)
		request_end(connection->in_flight.head->data, EIO);
}
