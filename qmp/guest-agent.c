/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest-agent.h"

#include <errno.h>
#include <string.h>

#include "autofd.h"
#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-reply.h"
#include "qmp-socket.h"
#include "qmp-wire.h"

/* Neither JSON nor UTF-8 has it: the agent's parser begins anew, and so do
 * we. */
#define DELIMITER '\xff'

/* More of an error's text than this is not worth reading. */
#define WORDS_MAX 300

struct GuestAgent {
	int fd;
	char *path;
	QmpWire *wire; /* NULL: not in step, a delimiter has to come first */
	int64_t sync;  /* the id that has to come back; 0: it has */
};

GuestAgent *guest_agent_connect(const char *path, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(GuestAgent) agent = g_new0(GuestAgent, 1);

	agent->path = g_strdup(path);
	agent->fd = qmp_socket_connect(path, qmp_deadline(timeout_ms), error);
	if (agent->fd >= 0)
		return g_steal_pointer(&agent);
	g_prefix_error(error, "guest agent: ");
	return NULL;
}

void guest_agent_free(GuestAgent *agent)
{
	if (!agent)
		return;
	autofd_clear(&agent->fd);
	qmp_wire_free(agent->wire);
	g_free(agent->path);
	g_free(agent);
}

/* The next reply may be to anything: it has to be synchronised first. */
static void lose_step(GuestAgent *agent)
{
	g_clear_pointer(&agent->wire, qmp_wire_free);
}

static size_t after_delimiter(const char *bytes, size_t n)
{
	size_t at = n;

	while (at > 0 && bytes[at - 1] != DELIMITER)
		at--;
	return at;
}

/* While we synchronise, each delimiter ends what was before it. */
static void take_bytes(GuestAgent *agent, const char *bytes, size_t n)
{
	size_t start = agent->sync ? after_delimiter(bytes, n) : 0;

	if (start) {
		lose_step(agent);
		agent->wire = qmp_wire_new();
	}
	if (agent->wire)
		qmp_wire_push(agent->wire, bytes + start, n - start);
}

static bool receive_some(GuestAgent *agent, int64_t deadline, GError **error)
{
	char bytes[4096];
	ssize_t n = qmp_socket_receive(agent->fd, bytes, sizeof(bytes),
		deadline, error);

	if (n > 0)
		take_bytes(agent, bytes, (size_t)n);
	if (n == 0)
		fleece_set_error(error, ECONNRESET,
			"the agent's connection was closed");
	return n > 0;
}

/* The next message, from whatever time.  Garbage while we synchronise is
 * nothing to fail for: it is what we do it for. */
static json_object *receive(GuestAgent *agent, int64_t deadline,
	GError **error)
{
	for (;;) {
		json_object *message = NULL;

		if (agent->wire && !qmp_wire_pop(agent->wire, &message,
			    agent->sync ? NULL : error)) {
			if (!agent->sync)
				return NULL;
			lose_step(agent);
		}
		if (message)
			return message;
		if (!receive_some(agent, deadline, error))
			return NULL;
	}
}

static bool is_synchronised(json_object *message, int64_t id)
{
	json_object *value;

	return json_object_object_get_ex(message, "return", &value) &&
		json_object_is_type(value, json_type_int) &&
		json_object_get_int64(value) == id;
}

static bool await_sync(GuestAgent *agent, int64_t deadline, GError **error)
{
	while (agent->sync) {
		g_autoptr(json_object) message = receive(agent, deadline,
			error);

		if (!message)
			return false;
		if (is_synchronised(message, agent->sync))
			agent->sync = 0;
	}
	return true;
}

/* Where we are out of step, the text synchronises first.  Both go at once: a
 * thaw must get through to an agent that is busy for longer than we wait. */
static char *format(GuestAgent *agent, const char *command)
{
	if (agent->wire)
		return g_strdup_printf("{\"execute\":\"%s\"}\n", command);
	agent->sync = 1 + (int64_t)g_random_int() * 4096 +
		g_random_int_range(0, 4096);
	return g_strdup_printf("%c{\"execute\":\"guest-sync-delimited\","
		"\"arguments\":{\"id\":%" G_GINT64_FORMAT "}}\n"
		"{\"execute\":\"%s\"}\n", DELIMITER, agent->sync, command);
}

static json_object *converse(GuestAgent *agent, const char *command,
	int64_t deadline, GError **error)
{
	g_autofree char *text = format(agent, command);
	g_autoptr(json_object) reply = NULL;

	if (qmp_socket_send(agent->fd, text, strlen(text), -1, deadline,
		    error) &&
	    await_sync(agent, deadline, error))
		reply = receive(agent, deadline, error);
	if (!reply)
		lose_step(agent);
	return g_steal_pointer(&reply);
}

/* What the socket's layer says is about monitors. */
static void reword(GError **error, bool synchronising, unsigned timeout_ms)
{
	int code = (*error)->code;

	if (code != ETIMEDOUT && code != ECONNRESET)
		return;
	g_clear_error(error);
	if (code == ECONNRESET)
		fleece_set_error(error, code,
			"the agent's connection was closed");
	else
		fleece_set_error(error, code, "no answer within %u ms%s",
			timeout_ms, synchronising ? ": no agent runs in the "
			"guest, or it is busy, or another program uses it" :
			"");
}

/* The words of a guest go into a log and onto a terminal. */
static void tame(GError *error)
{
	glong length = g_utf8_strlen(error->message, -1);

	if (length > WORDS_MAX)
		*g_utf8_offset_to_pointer(error->message, WORDS_MAX) = '\0';
	for (char *at = error->message; *at; at++) {
		if (g_ascii_iscntrl(*at))
			*at = ' ';
	}
}

/* Returns what the agent returned, the caller's; of the type that is
 * expected. */
static json_object *execute(GuestAgent *agent, const char *command,
	unsigned timeout_ms, json_type type, GError **error)
{
	GError *failure = NULL;
	g_autoptr(json_object) reply = converse(agent, command,
		qmp_deadline(timeout_ms), &failure);
	g_autoptr(json_object) value = NULL;

	if (reply)
		value = qmp_reply_return(command, reply, &failure);
	if (value && qmp_reply_check(command, value, "return", type, &failure))
		return g_steal_pointer(&value);
	if (!reply) {
		reword(&failure, agent->sync, timeout_ms);
		g_prefix_error(&failure, "%s: ", command);
	}
	tame(failure);
	g_propagate_prefixed_error(error, failure, "guest agent %s: ",
		agent->path);
	return NULL;
}

static bool execute_count(GuestAgent *agent, const char *command,
	unsigned timeout_ms, uint64_t *count, GError **error)
{
	g_autoptr(json_object) value = execute(agent, command, timeout_ms,
		json_type_int, error);

	*count = value ? (uint64_t)MAX(json_object_get_int64(value), 0) : 0;
	return value;
}

static void set_unknown_status(GuestAgent *agent, const char *text,
	GError **error)
{
	glong length = MIN(g_utf8_strlen(text, -1), 40);
	g_autofree char *start = g_utf8_substring(text, 0, length);
	GError *failure = NULL;

	fleece_set_error(&failure, EPROTO, "guest-fsfreeze-status: neither "
		"\"frozen\" nor \"thawed\", but \"%s\"", start);
	tame(failure);
	g_propagate_prefixed_error(error, failure, "guest agent %s: ",
		agent->path);
}

bool guest_agent_is_frozen(GuestAgent *agent, unsigned timeout_ms,
	bool *frozen, GError **error)
{
	g_autoptr(json_object) value = execute(agent, "guest-fsfreeze-status",
		timeout_ms, json_type_string, error);
	const char *text = value ? json_object_get_string(value) : "";

	*frozen = g_str_equal(text, "frozen");
	if (!value || *frozen || g_str_equal(text, "thawed"))
		return value;
	set_unknown_status(agent, text, error);
	return false;
}

bool guest_agent_freeze(GuestAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	return execute_count(agent, "guest-fsfreeze-freeze", timeout_ms,
		count, error);
}

/* A refusal may say no more than that there is nothing to thaw. */
bool guest_agent_thaw(GuestAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	g_autoptr(GError) failure = NULL;
	bool frozen;

	if (execute_count(agent, "guest-fsfreeze-thaw", timeout_ms, count,
		    &failure))
		return true;
	if (qmp_error_is_refusal(failure) &&
	    guest_agent_is_frozen(agent, timeout_ms, &frozen, NULL) && !frozen)
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

bool guest_agent_thaw_at(const char *path, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	g_autoptr(GuestAgent) agent = guest_agent_connect(path, timeout_ms,
		error);

	return agent && guest_agent_thaw(agent, timeout_ms, count, error);
}
