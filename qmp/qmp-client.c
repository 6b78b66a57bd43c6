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
	int64_t several_end;       /* monotonic us: when the rest of several
				    * commands has to be carried out; or 0 */
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

static unsigned carrier_ms(const QmpClient *client)
{
	int64_t left_us = client->several_end - g_get_monotonic_time();

	return client->several_end ? (unsigned)MAX(left_us / 1000, 1) :
				     client->timeout_ms;
}

static json_object *have_carried(QmpClient *client, const char *command,
	json_object *message, int fd, GError **error)
{
	g_autofree char *reply = client->carrier->run(client->opaque, command,
		qmp_json_text(message), fd, carrier_ms(client), error);

	return reply ? parse_reply(reply, error) : NULL;
}

/* One that has failed is of no more use. */
static void lose(QmpClient *client, const char *command, GError *failure,
	GError **error)
{
	client->lost = true;
	if (client->stream && is_timeout(failure)) {
		g_clear_error(&failure);
		fleece_set_error(&failure, ETIMEDOUT, "no answer within %u ms",
			client->timeout_ms);
	}
	g_propagate_prefixed_error(error, failure, "%s: ", command);
}

static bool check_connection(const QmpClient *client, GError **error)
{
	if (client->lost)
		fleece_set_error(error, ECONNRESET,
			"the connection is lost since a command failed");
	return !client->lost;
}

/* A carrier has it carried out when the reply is taken. */
static bool send_message(QmpClient *client, const char *command,
	json_object *message, int fd, int64_t deadline, GError **error)
{
	GError *failure = NULL;

	if (check_connection(client, &failure) && (!client->stream ||
		qmp_stream_send(client->stream, message, fd, deadline,
			&failure)))
		return true;
	lose(client, command, failure, error);
	return false;
}

/* What the reply to a message that was sent returns. */
static json_object *take_reply(QmpClient *client, const char *command,
	json_object *message, int fd, int64_t deadline, GError **error)
{
	g_autoptr(json_object) reply = NULL;
	GError *failure = NULL;

	if (!check_connection(client, &failure))
		reply = NULL;
	else if (client->stream)
		reply = qmp_stream_receive(client->stream, message, deadline,
			&failure);
	else
		reply = have_carried(client, command, message, fd, &failure);
	if (reply)
		return qmp_reply_return(command, reply, error);
	lose(client, command, failure, error);
	return NULL;
}

static json_object *execute_until(QmpClient *client, const char *command,
	json_object *arguments, int fd, int64_t deadline, GError **error)
{
	g_autoptr(json_object) message = make_message(command, arguments,
		error);

	return message && send_message(client, command, message, fd, deadline,
		error) ?
		take_reply(client, command, message, fd, deadline, error) :
		NULL;
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

static GPtrArray *make_messages(const char *command, GPtrArray *arguments,
	GError **error)
{
	g_autoptr(GPtrArray) messages = qmp_json_list();

	for (guint i = 0; i < arguments->len; i++) {
		json_object *message = make_message(command,
			json_object_get(arguments->pdata[i]), error);

		if (!message)
			return NULL;
		g_ptr_array_add(messages, message);
	}
	return g_steal_pointer(&messages);
}

static bool send_each(QmpClient *client, const char *command,
	const GPtrArray *messages, int64_t deadline, guint *failed,
	GError **error)
{
	for (guint i = 0; i < messages->len; i++) {
		if (send_message(client, command, messages->pdata[i],
			    QMP_NO_FD, deadline, error))
			continue;
		*failed = i;
		return false;
	}
	return true;
}

/* All are taken, also after one that is a refusal: it is the first that
 * counts. */
static bool take_each(QmpClient *client, const char *command,
	const GPtrArray *messages, int64_t deadline, guint *failed,
	GError **error)
{
	bool done = true;

	for (guint i = 0; i < messages->len; i++) {
		g_autoptr(json_object) value = take_reply(client, command,
			messages->pdata[i], QMP_NO_FD, deadline,
			done ? error : NULL);

		if (!value && done)
			*failed = i;
		done = done && value;
		client->several_end = deadline;
	}
	client->several_end = 0;
	return done;
}

bool qmp_execute_each(QmpClient *client, const char *command,
	GPtrArray *arguments, guint *failed, GError **error)
{
	int64_t deadline = qmp_deadline(client->timeout_ms);
	g_autoptr(GPtrArray) messages = make_messages(command, arguments,
		error);

	*failed = 0;
	return messages &&
		send_each(client, command, messages, deadline, failed,
			error) &&
		take_each(client, command, messages, deadline, failed, error);
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
