/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What came in pieces, cut anywhere, is the same messages and the same end as
 * what came at once. */
#include "qmp-wire.h"

#include "fuzz.h"

/* Messages as text, a line each, then how it ended. */
static void drain(QmpWire *wire, GString *out)
{
	g_autoptr(GError) error = NULL;
	json_object *message;
	bool good;

	while ((good = qmp_wire_pop(wire, &message, &error)) && message) {
		g_assert_true(json_object_is_type(message, json_type_object));
		g_string_append_printf(out, "%s\n",
			json_object_to_json_string(message));
		json_object_put(message);
	}
	fuzz_assert_told(good, error);
}

static void finish(QmpWire *wire, GString *out)
{
	g_autoptr(GError) broken = NULL, cut_off = NULL;
	json_object *message;

	g_string_append(out, qmp_wire_pop(wire, &message, &broken) ?
		"good" : "broken");
	g_assert_null(message);
	if (!broken)
		g_string_append(out, qmp_wire_finish(wire, &cut_off) ?
			", whole" : ", cut off");
}

static char *parse(const char *bytes, size_t size, size_t piece)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();
	GString *out = g_string_new(NULL);

	for (size_t done = 0; done < size; done += piece) {
		qmp_wire_push(wire, bytes + done, MIN(piece, size - done));
		drain(wire, out);
	}
	finish(wire, out);
	return g_string_free(out, FALSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? 2 + data[0] % 13 : 2;
	g_autofree char *whole = parse((const char *)data, size, size + 1);
	g_autofree char *pieces = parse((const char *)data, size, piece);
	g_autofree char *bytes = parse((const char *)data, size, 1);

	g_assert_cmpstr(whole, ==, pieces);
	g_assert_cmpstr(whole, ==, bytes);
	return 0;
}
