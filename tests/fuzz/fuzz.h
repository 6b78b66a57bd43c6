/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz.h - what every target is made of
 *
 * A target is one function.  It gets bytes of nobody knows whom, hands them
 * to code of ours and asserts what must hold whatever they are; libFuzzer or
 * replay.c calls it.  Bytes are taken from a FuzzInput front to back; where
 * there are none left, they are zero.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
	const uint8_t *data;
	size_t size;
} FuzzInput;

/* The next byte. */
static inline unsigned fuzz_byte(FuzzInput *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

/* A number of that many bytes, the lowest first. */
static inline uint64_t fuzz_number(FuzzInput *in, unsigned bytes)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < bytes; i++)
		number |= (uint64_t)fuzz_byte(in) << (8 * i);
	return number;
}

/* All that is left as a text, which ends at its first NUL. */
static inline char *fuzz_text(FuzzInput *in)
{
	char *text = g_strndup((const char *)in->data, in->size);

	in->size = 0;
	return text;
}

/* The same up to the next newline; NULL at the end. */
static inline char *fuzz_line(FuzzInput *in)
{
	const uint8_t *end = in->size ? memchr(in->data, '\n', in->size) : NULL;
	size_t length = end ? (size_t)(end - in->data) : in->size;
	char *line;

	if (in->size == 0)
		return NULL;
	line = g_strndup((const char *)in->data, length);
	in->data += length + (end != NULL);
	in->size -= length + (end != NULL);
	return line;
}

static inline GLogWriterOutput fuzz_log(GLogLevelFlags level,
	const GLogField *fields, gsize n_fields, gpointer unused)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)) {
		g_log_writer_standard_streams(level, fields, n_fields, NULL);
		abort();
	}
	return G_LOG_WRITER_HANDLED;
}

/* What is logged is not shown; a critical message is a bug. */
static inline void fuzz_log_nothing(void)
{
	static bool done;

	if (!done)
		g_log_set_writer_func(fuzz_log, NULL, NULL);
	done = true;
}

/* That a function which returned good has set error if and only if not. */
static inline void fuzz_assert_told(bool good, const GError *error)
{
	g_assert_true(good == !error);
	if (error) {
		g_assert_cmpint(error->code, >=, 0);
		g_assert_cmpstr(error->message, !=, "");
	}
}
