/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "autofd.h"
#include "fleece-error.h"
#include "qmp-socket.h"
#include "qmp-wire.h"

struct QmpStream {
	int fd;
	QmpWire *wire;
	char *session; /* what our ids begin with */
	uint64_t commands;
};

QmpStream *qmp_stream_connect(const char *path, int64_t deadline,
	GError **error)
{
	g_autoptr(QmpStream) stream = g_new0(QmpStream, 1);

	stream->wire = qmp_wire_new();
	/* Unlike those of every other client, and of us before.  Short: QEMU
	 * reads byte by byte, and a guest may stand still meanwhile. */
	stream->session = g_strdup_printf("fl%08x", g_random_int());
	stream->fd = qmp_socket_connect(path, deadline, error);
	return stream->fd < 0 ? NULL : g_steal_pointer(&stream);
}

void qmp_stream_free(QmpStream *stream)
{
	if (!stream)
		return;
	autofd_clear(&stream->fd);
	qmp_wire_free(stream->wire);
	g_free(stream->session);
	g_free(stream);
}

/* The next message, whatever it is. */
static json_object *receive(QmpStream *stream, int64_t deadline,
	GError **error)
{
	char bytes[16384];

	for (;;) {
		g_autoptr(GError) cut_off = NULL;
		json_object *message;
		ssize_t n;

		if (!qmp_wire_pop(stream->wire, &message, error))
			return NULL;
		if (message)
			return message;
		n = qmp_socket_receive(stream->fd, bytes, sizeof(bytes),
			deadline, error);
		if (n < 0)
			return NULL;
		if (n > 0) {
			qmp_wire_push(stream->wire, bytes, (size_t)n);
			continue;
		}
		qmp_wire_finish(stream->wire, &cut_off);
		fleece_set_error(error, ECONNRESET,
			"the monitor closed the connection%s%s",
			cut_off ? ": " : "", cut_off ? cut_off->message : "");
		return NULL;
	}
}

static bool is_reply_to(json_object *message, const char *id)
{
	json_object *member;

	return json_object_object_get_ex(message, "id", &member) &&
		json_object_is_type(member, json_type_string) &&
		g_str_equal(json_object_get_string(member), id);
}

/* Events, and replies to a client that was here before us, are dropped. */
static json_object *receive_reply(QmpStream *stream, const char *id,
	int64_t deadline, GError **error)
{
	for (;;) {
		json_object *message = receive(stream, deadline, error);

		if (!message || is_reply_to(message, id))
			return message;
		json_object_put(message);
	}
}

/* QEMU may send an event to a connection that it has not greeted yet, where
 * another client has just left. */
json_object *qmp_stream_greeting(QmpStream *stream, int64_t deadline,
	GError **error)
{
	for (;;) {
		json_object *message = receive(stream, deadline, error);

		if (!message || !json_object_object_get_ex(message, "event",
					NULL))
			return message;
		json_object_put(message);
	}
}

json_object *qmp_stream_converse(QmpStream *stream, json_object *message,
	int fd, int64_t deadline, GError **error)
{
	g_autofree char *id = g_strdup_printf("%s-%" G_GUINT64_FORMAT,
		stream->session, ++stream->commands);
	g_autofree char *line = NULL;

	json_object_object_add(message, "id", json_object_new_string(id));
	line = g_strconcat(qmp_json_text(message), "\n", NULL);
	return qmp_socket_send(stream->fd, line, strlen(line), fd, deadline,
		       error) ?
		receive_reply(stream, id, deadline, error) : NULL;
}

void qmp_stream_wait(QmpStream *stream, int limit_ms)
{
	struct pollfd poll_fd = { .fd = stream->fd, .events = POLLIN };

	poll(&poll_fd, 1, limit_ms);
}
