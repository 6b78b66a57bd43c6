/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of the texts of .dirty, at any offset, against the whole; and the
 * whole against one that printf() makes. */
#include "map-text.h"

#include "fuzz.h"

#define PIECES 16

/* Eight bytes or so are more than one mark of the index: an extent comes
 * again and again, longer each time. */
static ExtentList *make_list(FuzzInput *in)
{
	unsigned shift = fuzz_byte(in) % 54;
	unsigned repeat = 1 + fuzz_byte(in) % 64;
	unsigned extents = fuzz_byte(in) % 32;
	uint64_t disk = fuzz_number(in, 7) << (shift % 5);
	ExtentList *list = extent_list_new(disk);

	for (unsigned i = 0; i < extents; i++) {
		unsigned flags = fuzz_byte(in);
		uint64_t length = 1 + ((uint64_t)fuzz_byte(in) << shift);

		for (unsigned n = 0; n < repeat; n++)
			extent_list_append(list, length + n,
				(flags >> 2 * (n % 4)) & EXTENT_FLAGS);
	}
	if (!extent_list_is_complete(list))
		extent_list_append(list, disk, EXTENT_DIRTY);
	return list;
}

/* The extents whose flags in mask are the same as those of the next one are
 * one line. */
static Extent join(const ExtentList *list, size_t *index, unsigned mask)
{
	Extent all = extent_list_get(list, (*index)++);

	while (*index < extent_list_count(list)) {
		Extent next = extent_list_get(list, *index);

		if ((next.flags & mask) != (all.flags & mask))
			break;
		all.length += next.length;
		(*index)++;
	}
	return all;
}

static const char *word(bool yes)
{
	return yes ? "true" : "false";
}

static GString *make_mapfile(const ExtentList *list)
{
	GString *text = g_string_new("# Mapfile. Created by fleecefs\n"
		"# current_pos  current_status  current_pass\n"
		"0x00000000     ?               1\n"
		"#      pos        size  status\n");

	for (size_t i = 0; i < extent_list_count(list);) {
		Extent line = join(list, &i, EXTENT_DIRTY);

		g_string_append_printf(text, "0x%08" G_GINT64_MODIFIER
			"X  0x%08" G_GINT64_MODIFIER "X  %c\n", line.offset,
			line.length, line.flags & EXTENT_DIRTY ? '+' : '?');
	}
	return text;
}

static GString *make_json(const ExtentList *list)
{
	GString *text = g_string_new("[\n");

	for (size_t i = 0; i < extent_list_count(list);) {
		Extent line = join(list, &i, EXTENT_FLAGS);

		g_string_append_printf(text, "{\"offset\":%" G_GUINT64_FORMAT
			",\"length\":%" G_GUINT64_FORMAT ",\"dirty\":%s,"
			"\"zero\":%s}%s\n", line.offset, line.length,
			word(line.flags & EXTENT_DIRTY),
			word(line.flags & EXTENT_ZERO),
			i < extent_list_count(list) ? "," : "");
	}
	return g_string_append(text, "]\n");
}

/* What read gave must be this piece of the whole, and as long as can be. */
static void try_piece(const MapText *text, const GString *whole,
	uint64_t offset, size_t length)
{
	g_autofree char *buffer = g_malloc(length);
	size_t left = offset < whole->len ? whole->len - offset : 0;
	size_t got = map_text_read(text, offset, buffer, length);

	g_assert_cmpuint(got, ==, MIN(left, length));
	if (got > 0)
		g_assert_cmpmem(buffer, got, whole->str + offset, got);
}

static void try_text(const ExtentList *list, enum map_format format,
	FuzzInput in)
{
	g_autoptr(MapText) text = map_text_new(list, format);
	GString *whole = format == MAP_FORMAT_MAPFILE ? make_mapfile(list) :
		make_json(list);

	g_assert_cmpuint(map_text_size(text), ==, whole->len);
	try_piece(text, whole, 0, whole->len + 1);
	for (unsigned i = 0; i < PIECES && in.size > 0; i++) {
		uint64_t offset = fuzz_number(&in, 3) % (whole->len + 2);

		try_piece(text, whole, offset, 1 + fuzz_number(&in, 2));
	}
	try_piece(text, whole, G_MAXUINT64, 10);
	g_string_free(whole, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autoptr(ExtentList) list = make_list(&in);

	try_text(list, MAP_FORMAT_MAPFILE, in);
	try_text(list, MAP_FORMAT_JSON, in);
	return 0;
}
