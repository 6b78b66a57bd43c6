/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-wire.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

/* json-c takes an int, and the size limit should bite before all is parsed */
#define PIECE (64u << 10)

struct QmpWire {
	json_tokener *tokener;
	GQueue messages;
	size_t size; /* of the message being parsed; 0 between messages */
	GError *broken;
};

static json_tokener *new_tokener(int flags)
{
	/* json-c counts the innermost scalar as a level of its own. */
	json_tokener *tokener = json_tokener_new_ex(QMP_WIRE_MAX_DEPTH + 1);

	if (!tokener)
		g_error("out of memory");
	json_tokener_set_flags(tokener, flags);
	return tokener;
}

/* That of json-c 0.18 takes any byte that is not ASCII for a control character
 * (its issue 875), and libvirt sends such bytes. */
static bool strict_takes_utf8(void)
{
	static const char text[] = "\"\xc3\xa4\"";
	json_tokener *tokener = new_tokener(JSON_TOKENER_STRICT);
	json_object *taken = json_tokener_parse_ex(tokener, text,
		strlen(text));
	bool good = taken != NULL;

	json_object_put(taken);
	json_tokener_free(tokener);
	return good;
}

QmpWire *qmp_wire_new(void)
{
	QmpWire *wire = g_new0(QmpWire, 1);

	wire->tokener = new_tokener(strict_takes_utf8() ?
		JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS : 0);
	g_queue_init(&wire->messages);
	return wire;
}

static void put_message(gpointer message)
{
	json_object_put(message);
}

void qmp_wire_free(QmpWire *wire)
{
	if (!wire)
		return;
	g_queue_clear_full(&wire->messages, put_message);
	json_tokener_free(wire->tokener);
	g_clear_error(&wire->broken);
	g_free(wire);
}

static void break_stream(QmpWire *wire, const char *what)
{
	fleece_set_error(&wire->broken, EPROTO, "garbage instead of JSON: %s",
		what);
}

static size_t count_space(const char *bytes, size_t n)
{
	size_t count = 0;

	while (count < n && strchr(" \t\r\n", bytes[count]))
		count++;
	return count;
}

/* Parses up to the end of one message; returns how many bytes it took. */
static size_t parse_some(QmpWire *wire, const char *bytes, size_t n)
{
	json_object *message = json_tokener_parse_ex(wire->tokener, bytes,
		(int)n);
	enum json_tokener_error status = json_tokener_get_error(wire->tokener);
	size_t used = message ? json_tokener_get_parse_end(wire->tokener) : n;

	wire->size += used;
	if (!message && status != json_tokener_continue) {
		break_stream(wire, json_tokener_error_desc(status));
	} else if (wire->size > QMP_WIRE_MAX_SIZE) {
		json_object_put(message);
		break_stream(wire, "the message is too long");
	} else if (message) {
		g_queue_push_tail(&wire->messages, message);
		json_tokener_reset(wire->tokener);
		wire->size = 0;
	}
	return used;
}

static size_t push_some(QmpWire *wire, const char *bytes, size_t n)
{
	size_t space = wire->size ? 0 : count_space(bytes, n);

	if (space)
		return space;
	if (!wire->size && bytes[0] != '{') {
		break_stream(wire, "not a JSON object");
		return n;
	}
	return parse_some(wire, bytes, MIN(n, PIECE));
}

void qmp_wire_push(QmpWire *wire, const char *bytes, size_t n)
{
	/* json-c takes a NUL byte for the end of its input. */
	const char *nul = n ? memchr(bytes, '\0', n) : NULL;
	size_t end = nul ? (size_t)(nul - bytes) : n;

	for (size_t done = 0; done < end && !wire->broken;)
		done += push_some(wire, bytes + done, end - done);
	if (nul && !wire->broken)
		break_stream(wire, "a NUL byte");
}

bool qmp_wire_pop(QmpWire *wire, json_object **message, GError **error)
{
	*message = g_queue_pop_head(&wire->messages);
	if (*message || !wire->broken)
		return true;
	if (error)
		*error = g_error_copy(wire->broken);
	return false;
}

bool qmp_wire_finish(const QmpWire *wire, GError **error)
{
	if (!wire->size)
		return true;
	fleece_set_error(error, EPROTO, "a message is cut off after %zu bytes",
		wire->size);
	return false;
}
