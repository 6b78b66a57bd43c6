/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>

#include "autofd.h"
#include "fleece-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"
#include "qmp-socket.h"
#include "qmp-wire.h"

#define LINGER_MS 20

struct QmpClient {
	int fd;
	unsigned timeout_ms;
	QmpWire *wire;
	char *session; /* what our ids begin with */
	uint64_t commands;
	bool lost; /* after a failure that was no refusal */
	unsigned major, minor, micro;
	char *version_text;
};

static bool is_timeout(const GError *error)
{
	return g_error_matches(error, FLEECE_ERROR, ETIMEDOUT);
}

/* The next message, whatever it is. */
static json_object *receive(QmpClient *client, int64_t deadline,
	GError **error)
{
	char bytes[16384];

	for (;;) {
		g_autoptr(GError) cut_off = NULL;
		json_object *message;
		ssize_t n;

		if (!qmp_wire_pop(client->wire, &message, error))
			return NULL;
		if (message)
			return message;
		n = qmp_socket_receive(client->fd, bytes, sizeof(bytes),
			deadline, error);
		if (n < 0)
			return NULL;
		if (n > 0) {
			qmp_wire_push(client->wire, bytes, (size_t)n);
			continue;
		}
		qmp_wire_finish(client->wire, &cut_off);
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
static json_object *receive_reply(QmpClient *client, const char *id,
	int64_t deadline, GError **error)
{
	for (;;) {
		json_object *message = receive(client, deadline, error);

		if (!message || is_reply_to(message, id))
			return message;
		json_object_put(message);
	}
}

static char *format_command(const char *command, json_object *arguments,
	const char *id, GError **error)
{
	g_autoptr(json_object) message = qmp_strings("execute", command, "id",
		id, NULL);
	const char *text;

	if (arguments)
		json_object_object_add(message, "arguments", arguments);
	text = json_object_to_json_string_ext(message,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (g_utf8_validate(text, -1, NULL))
		return g_strconcat(text, "\n", NULL);
	fleece_set_error(error, EINVAL, "%s: an argument is not UTF-8",
		command);
	return NULL;
}

/* Sends text and returns the reply with the id. */
static json_object *converse(QmpClient *client, const char *command,
	const char *text, const char *id, int fd, int64_t deadline,
	GError **error)
{
	json_object *reply = NULL;
	GError *local = NULL;

	if (client->lost)
		fleece_set_error(&local, ECONNRESET,
			"the connection is lost since a command failed");
	else if (qmp_socket_send(client->fd, text, strlen(text), fd, deadline,
			 &local))
		reply = receive_reply(client, id, deadline, &local);
	if (reply)
		return reply;
	client->lost = true;
	if (is_timeout(local)) {
		g_clear_error(&local);
		fleece_set_error(&local, ETIMEDOUT, "no answer within %u ms",
			client->timeout_ms);
	}
	g_propagate_prefixed_error(error, local, "%s: ", command);
	return NULL;
}

static json_object *execute_until(QmpClient *client, const char *command,
	json_object *arguments, int fd, int64_t deadline, GError **error)
{
	g_autofree char *id = g_strdup_printf("%s-%" G_GUINT64_FORMAT,
		client->session, ++client->commands);
	g_autofree char *text = format_command(command, arguments, id, error);
	g_autoptr(json_object) reply = NULL;

	if (!text)
		return NULL;
	reply = converse(client, command, text, id, fd, deadline, error);
	return reply ? qmp_reply_return(command, reply, error) : NULL;
}

json_object *qmp_execute(QmpClient *client, const char *command,
	json_object *arguments, int fd, GError **error)
{
	return execute_until(client, command, arguments, fd,
		qmp_deadline(client->timeout_ms), error);
}

bool qmp_execute_void(QmpClient *client, const char *command,
	json_object *arguments, GError **error)
{
	g_autoptr(json_object) value = qmp_execute(client, command, arguments,
		QMP_NO_FD, error);

	return value;
}

static bool parse_number(json_object *version, const char *name,
	unsigned *number, GError **error)
{
	uint64_t value;

	if (!qmp_reply_size("greeting", version, name, &value, error))
		return false;
	*number = (unsigned)MIN(value, UINT_MAX);
	return true;
}

static bool parse_greeting(QmpClient *client, json_object *message,
	GError **error)
{
	json_object *qmp = qmp_reply_member("greeting", message, "QMP",
		json_type_object, error);
	json_object *version = qmp ? qmp_reply_member("greeting", qmp,
		"version", json_type_object, error) : NULL;
	json_object *qemu = version ? qmp_reply_member("greeting", version,
		"qemu", json_type_object, error) : NULL;
	const char *package = qemu ? qmp_reply_string("greeting", version,
		"package", error) : NULL;

	if (!package || !parse_number(qemu, "major", &client->major, error) ||
		!parse_number(qemu, "minor", &client->minor, error) ||
		!parse_number(qemu, "micro", &client->micro, error))
		return false;
	client->version_text = g_strdup_printf("%u.%u.%u%s%s%s", client->major,
		client->minor, client->micro, *package ? " (" : "", package,
		*package ? ")" : "");
	return true;
}

/* QEMU may send an event to a connection that it has not greeted yet, where
 * another client has just left. */
static json_object *receive_greeting(QmpClient *client, int64_t deadline,
	GError **error)
{
	for (;;) {
		json_object *message = receive(client, deadline, error);

		if (!message || !json_object_object_get_ex(message, "event",
					NULL))
			return message;
		json_object_put(message);
	}
}

static bool read_greeting(QmpClient *client, int64_t deadline, GError **error)
{
	GError *local = NULL;
	g_autoptr(json_object) message = receive_greeting(client, deadline,
		&local);

	if (message && parse_greeting(client, message, &local))
		return true;
	if (is_timeout(local)) {
		g_clear_error(&local);
		fleece_set_error(&local, ETIMEDOUT, "the monitor is busy: "
			"another client holds it, or QEMU hangs");
	} else if (g_error_matches(local, FLEECE_ERROR, EPROTO)) {
		g_prefix_error(&local, "not a QMP monitor: ");
	}
	g_propagate_error(error, local);
	return false;
}

static bool negotiate(QmpClient *client, int64_t deadline, GError **error)
{
	g_autoptr(json_object) value = NULL;

	if (!read_greeting(client, deadline, error))
		return false;
	value = execute_until(client, "qmp_capabilities", NULL, QMP_NO_FD,
		deadline, error);
	return value;
}

QmpClient *qmp_client_connect(const char *path, unsigned timeout_ms,
	GError **error)
{
	int64_t deadline = qmp_deadline(timeout_ms);
	g_autoptr(QmpClient) client = g_new0(QmpClient, 1);

	client->timeout_ms = timeout_ms;
	client->wire = qmp_wire_new();
	/* Unlike those of every other client, and of us before. */
	client->session = g_strdup_printf("fleecefs-%08x%08x", g_random_int(),
		g_random_int());
	client->fd = qmp_socket_connect(path, deadline, error);
	if (client->fd < 0)
		return NULL;
	if (!negotiate(client, deadline, error)) {
		g_prefix_error(error, "%s: ", path);
		return NULL;
	}
	return g_steal_pointer(&client);
}

void qmp_client_free(QmpClient *client)
{
	if (!client)
		return;
	autofd_clear(&client->fd);
	qmp_wire_free(client->wire);
	g_free(client->session);
	g_free(client->version_text);
	g_free(client);
}

void qmp_client_version(const QmpClient *client, unsigned *major,
	unsigned *minor, unsigned *micro)
{
	*major = client->major;
	*minor = client->minor;
	*micro = client->micro;
}

const char *qmp_client_version_text(const QmpClient *client)
{
	return client->version_text;
}

unsigned qmp_client_timeout(const QmpClient *client)
{
	return client->timeout_ms;
}

void qmp_client_set_timeout(QmpClient *client, unsigned timeout_ms)
{
	client->timeout_ms = timeout_ms;
}

void qmp_client_linger(QmpClient *client)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLIN };

	poll(&poll_fd, 1, LINGER_MS);
}
