/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-client.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"
#include "qmp-socket.h"
#include "qmp-stream.h"
#include "qmp-wire.h"

#define LINGER_MS 20

struct QmpClient {
	QmpStream *stream;         /* our own; or NULL, and */
	const QmpCarrier *carrier; /* who has a connection */
	void *opaque;              /* the carrier's */
	unsigned timeout_ms;
	bool lost; /* after a failure that was no refusal */
	unsigned major, minor, micro;
	char *version_text;
};

static bool is_timeout(const GError *error)
{
	return g_error_matches(error, FLEECE_ERROR, ETIMEDOUT);
}

/* A message, which QEMU would understand; NULL for what it would not answer. */
static json_object *make_message(const char *command, json_object *arguments,
	GError **error)
{
	json_object *message = qmp_strings("execute", command, NULL);

	if (arguments)
		json_object_object_add(message, "arguments", arguments);
	if (g_utf8_validate(qmp_json_text(message), -1, NULL))
		return message;
	fleece_set_error(error, EINVAL, "%s: an argument is not UTF-8",
		command);
	json_object_put(message);
	return NULL;
}

static json_object *parse_reply(const char *text, GError **error)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();
	json_object *reply;

	qmp_wire_push(wire, text, strlen(text));
	if (!qmp_wire_pop(wire, &reply, error))
		return NULL;
	if (!reply && qmp_wire_finish(wire, error))
		fleece_set_error(error, EPROTO, "an empty reply");
	return reply;
}

static json_object *have_carried(QmpClient *client, const char *command,
	json_object *message, int fd, GError **error)
{
	g_autofree char *reply = client->carrier->run(client->opaque, command,
		qmp_json_text(message), fd, client->timeout_ms, error);

	return reply ? parse_reply(reply, error) : NULL;
}

static json_object *converse_over_socket(QmpClient *client,
	json_object *message, int fd, int64_t deadline, GError **error)
{
	json_object *reply = NULL;
	GError *local = NULL;

	reply = qmp_stream_converse(client->stream, message, fd, deadline,
		&local);
	if (is_timeout(local)) {
		g_clear_error(&local);
		fleece_set_error(&local, ETIMEDOUT, "no answer within %u ms",
			client->timeout_ms);
	}
	if (local)
		g_propagate_error(error, local);
	return reply;
}

/* Sends message and returns the reply to it. */
static json_object *converse(QmpClient *client, const char *command,
	json_object *message, int fd, int64_t deadline, GError **error)
{
	json_object *reply = NULL;
	GError *local = NULL;

	if (client->lost)
		fleece_set_error(&local, ECONNRESET,
			"the connection is lost since a command failed");
	else if (client->stream)
		reply = converse_over_socket(client, message, fd, deadline,
			&local);
	else
		reply = have_carried(client, command, message, fd, &local);
	if (reply)
		return reply;
	client->lost = true;
	g_propagate_prefixed_error(error, local, "%s: ", command);
	return NULL;
}

static json_object *execute_until(QmpClient *client, const char *command,
	json_object *arguments, int fd, int64_t deadline, GError **error)
{
	g_autoptr(json_object) message = make_message(command, arguments,
		error);
	g_autoptr(json_object) reply = NULL;

	if (!message)
		return NULL;
	reply = converse(client, command, message, fd, deadline, error);
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

static bool parse_number(const char *command, json_object *version,
	const char *name, unsigned *number, GError **error)
{
	uint64_t value;

	if (!qmp_reply_size(command, version, name, &value, error))
		return false;
	*number = (unsigned)MIN(value, UINT_MAX);
	return true;
}

/* What query-version returns, and what is in the greeting. */
static bool take_version(QmpClient *client, const char *command,
	json_object *version, GError **error)
{
	json_object *qemu = qmp_reply_member(command, version, "qemu",
		json_type_object, error);
	const char *package = qemu ? qmp_reply_string(command, version,
		"package", error) : NULL;

	if (!package ||
	    !parse_number(command, qemu, "major", &client->major, error) ||
	    !parse_number(command, qemu, "minor", &client->minor, error) ||
	    !parse_number(command, qemu, "micro", &client->micro, error))
		return false;
	client->version_text = g_strdup_printf("%u.%u.%u%s%s%s", client->major,
		client->minor, client->micro, *package ? " (" : "", package,
		*package ? ")" : "");
	return true;
}

static bool parse_greeting(QmpClient *client, json_object *message,
	GError **error)
{
	json_object *qmp = qmp_reply_member("greeting", message, "QMP",
		json_type_object, error);
	json_object *version = qmp ? qmp_reply_member("greeting", qmp,
		"version", json_type_object, error) : NULL;

	return version && take_version(client, "greeting", version, error);
}

static bool read_greeting(QmpClient *client, int64_t deadline, GError **error)
{
	GError *local = NULL;
	g_autoptr(json_object) message = qmp_stream_greeting(client->stream,
		deadline, &local);

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
	client->stream = qmp_stream_connect(path, deadline, error);
	if (!client->stream)
		return NULL;
	if (!negotiate(client, deadline, error)) {
		g_prefix_error(error, "%s: ", path);
		return NULL;
	}
	return g_steal_pointer(&client);
}

QmpClient *qmp_client_over(const QmpCarrier *carrier, void *opaque_take,
	unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = g_new0(QmpClient, 1);
	g_autoptr(json_object) version = NULL;

	client->carrier = carrier;
	client->opaque = opaque_take;
	client->timeout_ms = timeout_ms;
	version = qmp_execute(client, "query-version", NULL, QMP_NO_FD, error);
	return version && take_version(client, "query-version", version,
		error) ? g_steal_pointer(&client) : NULL;
}

void qmp_client_free(QmpClient *client)
{
	if (!client)
		return;
	qmp_stream_free(client->stream);
	if (client->carrier)
		client->carrier->free(client->opaque);
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
	if (client->stream)
		qmp_stream_wait(client->stream, LINGER_MS);
	else /* no event comes this way */
		g_usleep(LINGER_MS * 1000);
}
