/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of a QMP stream, fed with pieces cut everywhere. */
#include "qmp-wire.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

/* As QEMU writes it, and then as it might. */
static const char stream[] =
	"{\"QMP\": {\"version\": {}}}\r\n"
	"{\"return\": {\"a\": [1, -2, true, null, 1.5]}, \"id\": \"x\"}\r\n"
	"\r\n  \t"
	"{\"s\":\"\\u00e4\\ud83d\\ude00\\\"}{\\\\\"}"
	"{\"raw\":\"\xc3\xa4\xf0\x9f\x98\x80\"}";

static const char *const messages[] = {
	"{\"QMP\":{\"version\":{}}}",
	"{\"return\":{\"a\":[1,-2,true,null,1.5]},\"id\":\"x\"}",
	"{\"s\":\"\xc3\xa4\xf0\x9f\x98\x80\\\"}{\\\\\"}",
	"{\"raw\":\"\xc3\xa4\xf0\x9f\x98\x80\"}",
};

static void assert_next(QmpWire *wire, const char *expected)
{
	g_autoptr(json_object) message = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_true(qmp_wire_pop(wire, &message, &error));
	g_assert_no_error(error);
	if (!expected) {
		g_assert_null(message);
		return;
	}
	g_assert_nonnull(message);
	g_assert_cmpstr(json_object_to_json_string_ext(message,
		JSON_C_TO_STRING_PLAIN), ==, expected);
}

static void assert_broken(QmpWire *wire, const char *words)
{
	/* For good: it says so each time. */
	for (int i = 0; i < 2; i++) {
		json_object *message = NULL;
		g_autoptr(GError) error = NULL;

		g_assert_false(qmp_wire_pop(wire, &message, &error));
		g_assert_null(message);
		g_assert_error(error, FLEECE_ERROR, EPROTO);
		if (!strstr(error->message, words))
			g_error("\"%s\" lacks \"%s\"", error->message, words);
		qmp_wire_push(wire, "{}", 2);
	}
}

static void assert_all(QmpWire *wire)
{
	for (size_t i = 0; i < G_N_ELEMENTS(messages); i++)
		assert_next(wire, messages[i]);
	assert_next(wire, NULL);
	g_assert_true(qmp_wire_finish(wire, NULL));
}

static void test_one_piece(void)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();

	assert_next(wire, NULL);
	qmp_wire_push(wire, stream, strlen(stream));
	assert_all(wire);
}

static void test_two_pieces(void)
{
	for (size_t cut = 0; cut <= strlen(stream); cut++) {
		g_autoptr(QmpWire) wire = qmp_wire_new();

		qmp_wire_push(wire, stream, cut);
		qmp_wire_push(wire, stream + cut, strlen(stream) - cut);
		assert_all(wire);
	}
}

static void test_bytes(void)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();

	for (size_t i = 0; i < strlen(stream); i++)
		qmp_wire_push(wire, stream + i, 1);
	assert_all(wire);
}

static void test_no_newline(void)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();

	qmp_wire_push(wire, "{\"a\":1}", 7);
	assert_next(wire, "{\"a\":1}");
}

static void test_garbage(void)
{
	static const struct {
		const char *bytes;
		const char *words;
	} cases[] = {
		{ "SSH-2.0-OpenSSH\r\n", "not a JSON object" },
		{ "[]", "not a JSON object" },
		{ "\"text\"", "not a JSON object" },
		{ "17", "not a JSON object" },
		{ "null", "not a JSON object" },
		{ "/* */{}", "not a JSON object" },
		{ "}", "not a JSON object" },
		{ "{]", "garbage" },
		{ "{\"a\" 1}", "garbage" },
		{ "{\"a\":NaN1}", "garbage" },
		{ "{\"a\":nul1}", "garbage" },
		{ "{\"a\":1,}", "garbage" },
		{ "{\"a\":/* */1}", "garbage" },
	};
	/* json-c 0.18 cannot be strict: the last two are taken */
	bool lenient = json_c_version_num() >> 8 == 18;

	for (size_t i = 0; i < G_N_ELEMENTS(cases) - 2 * lenient; i++) {
		const char *bytes = cases[i].bytes;
		g_autoptr(QmpWire) whole = qmp_wire_new();
		g_autoptr(QmpWire) bytewise = qmp_wire_new();

		qmp_wire_push(whole, bytes, strlen(bytes));
		assert_broken(whole, cases[i].words);
		for (size_t at = 0; at < strlen(bytes); at++)
			qmp_wire_push(bytewise, bytes + at, 1);
		assert_broken(bytewise, cases[i].words);
	}
}

static void test_nul(void)
{
	static const char inside[] = "{\"a\":\"\0\"}";
	static const char between[] = "{\"a\":1}\0{}";
	g_autoptr(QmpWire) first = qmp_wire_new();
	g_autoptr(QmpWire) second = qmp_wire_new();

	qmp_wire_push(first, inside, sizeof(inside) - 1);
	assert_broken(first, "NUL");
	qmp_wire_push(second, between, sizeof(between) - 1);
	assert_next(second, "{\"a\":1}");
	assert_broken(second, "NUL");
}

/* What came before the garbage counts, however the pieces were cut. */
static void test_garbage_after_message(void)
{
	g_autoptr(QmpWire) wire = qmp_wire_new();

	qmp_wire_push(wire, "{\"a\":1}\r\noops", 13);
	assert_next(wire, "{\"a\":1}");
	assert_broken(wire, "not a JSON object");
}

static char *nested(unsigned depth)
{
	g_autoptr(GString) text = g_string_new("{\"a\":");

	for (unsigned i = 1; i < depth; i++)
		g_string_append_c(text, '[');
	g_string_append_c(text, '1');
	for (unsigned i = 1; i < depth; i++)
		g_string_append_c(text, ']');
	g_string_append_c(text, '}');
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static void test_depth(void)
{
	g_autofree char *deep = nested(QMP_WIRE_MAX_DEPTH);
	g_autofree char *too_deep = nested(QMP_WIRE_MAX_DEPTH + 1);
	g_autoptr(QmpWire) wire = qmp_wire_new();

	qmp_wire_push(wire, deep, strlen(deep));
	assert_next(wire, deep);
	qmp_wire_push(wire, too_deep, strlen(too_deep));
	assert_broken(wire, "garbage");
}

/* An object with one long string, size bytes in all. */
static char *sized(size_t size)
{
	char *text = g_malloc(size + 1);

	memset(text, 'x', size);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + size - 2, "\"}", 3);
	return text;
}

static void test_size(void)
{
	g_autofree char *longest = sized(QMP_WIRE_MAX_SIZE);
	g_autofree char *too_long = sized(QMP_WIRE_MAX_SIZE + 1);
	g_autoptr(QmpWire) wire = qmp_wire_new();

	qmp_wire_push(wire, longest, QMP_WIRE_MAX_SIZE);
	assert_next(wire, longest);
	qmp_wire_push(wire, too_long, QMP_WIRE_MAX_SIZE + 1);
	assert_broken(wire, "too long");
}

static void test_cut_off(void)
{
	for (size_t n = 1; n < strlen(messages[0]); n++) {
		g_autoptr(QmpWire) wire = qmp_wire_new();
		g_autoptr(GError) error = NULL;

		qmp_wire_push(wire, messages[0], n);
		assert_next(wire, NULL);
		g_assert_false(qmp_wire_finish(wire, &error));
		g_assert_error(error, FLEECE_ERROR, EPROTO);
	}
}

/* Bytes at random, and a good stream with one byte changed: no crash. */
static void test_random(void)
{
	for (int round = 0; round < 20000; round++) {
		g_autofree char *bytes = g_strdup(stream);
		size_t n = strlen(stream);
		g_autoptr(QmpWire) wire = qmp_wire_new();
		size_t cut = (size_t)g_test_rand_int_range(0, (int)n);
		json_object *message;

		bytes[g_test_rand_int_range(0, (int)n)] =
			(char)g_test_rand_int_range(-128, 128);
		qmp_wire_push(wire, bytes, cut);
		qmp_wire_push(wire, bytes + cut, n - cut);
		while (qmp_wire_pop(wire, &message, NULL) && message)
			json_object_put(message);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/qmp-wire/one-piece", test_one_piece);
	g_test_add_func("/qmp-wire/two-pieces", test_two_pieces);
	g_test_add_func("/qmp-wire/bytes", test_bytes);
	g_test_add_func("/qmp-wire/no-newline", test_no_newline);
	g_test_add_func("/qmp-wire/garbage", test_garbage);
	g_test_add_func("/qmp-wire/nul", test_nul);
	g_test_add_func("/qmp-wire/garbage-after-message",
		test_garbage_after_message);
	g_test_add_func("/qmp-wire/depth", test_depth);
	g_test_add_func("/qmp-wire/size", test_size);
	g_test_add_func("/qmp-wire/cut-off", test_cut_off);
	g_test_add_func("/qmp-wire/random", test_random);
	return g_test_run();
}
