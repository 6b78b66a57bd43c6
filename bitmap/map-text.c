/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "map-text.h"

#include <stdbool.h>
#include <string.h>

/* How many extents a read may have to walk before it is where it begins. */
#define EXTENTS_PER_MARK 256
/* The longest line, of JSON with two 20-digit numbers, has 91 bytes. */
#define LINE_SIZE 128

/* A place where a line begins, and the first extent of that line. */
typedef struct {
	uint64_t position;
	size_t extent;
} Mark;

struct MapText {
	const ExtentList *list;
	enum map_format format;
	const char *head;
	const char *tail;
	uint64_t size;
	GArray *marks; /* of Mark, in order; never empty */
};

/* What one read still wants; position is where the next piece belongs. */
typedef struct {
	uint64_t position;
	uint64_t offset;
	char *buffer;
	size_t length;
	size_t filled;
} Window;

static const char mapfile_head[] =
	"# Mapfile. Created by fleecefs\n"
	"# current_pos  current_status  current_pass\n"
	"0x00000000     ?               1\n"
	"#      pos        size  status\n";

/* Own digits, since the whole text is made once to learn its length, and
 * printf() would take a second for four million lines. */
static inline char *put_number(char *out, uint64_t value, unsigned base,
	unsigned width)
{
	char digits[20];
	unsigned count = 0;

	while (value > 0 || count < width) {
		digits[count++] = "0123456789ABCDEF"[value % base];
		value /= base;
	}
	while (count > 0)
		*out++ = digits[--count];
	return out;
}

static char *put_mapfile_line(char *out, const Extent *block)
{
	out = g_stpcpy(out, "0x");
	out = put_number(out, block->offset, 16, 8);
	out = g_stpcpy(out, "  0x");
	out = put_number(out, block->length, 16, 8);
	return g_stpcpy(out, block->flags & EXTENT_DIRTY ? "  +\n" : "  ?\n");
}

static char *put_json_line(char *out, const Extent *block, bool last)
{
	out = g_stpcpy(out, "{\"offset\":");
	out = put_number(out, block->offset, 10, 1);
	out = g_stpcpy(out, ",\"length\":");
	out = put_number(out, block->length, 10, 1);
	out = g_stpcpy(out, ",\"dirty\":");
	out = g_stpcpy(out, block->flags & EXTENT_DIRTY ? "true" : "false");
	out = g_stpcpy(out, ",\"zero\":");
	out = g_stpcpy(out, block->flags & EXTENT_ZERO ? "true" : "false");
	return g_stpcpy(out, last ? "}\n" : "},\n");
}

/* The block of one line, which begins with the extent at *index; moves
 * *index behind it.  Returns false at the end of the list. */
static bool next_block(const MapText *text, size_t *index, Extent *block)
{
	unsigned told = text->format == MAP_FORMAT_MAPFILE ? EXTENT_DIRTY :
		EXTENT_FLAGS;

	if (*index == extent_list_count(text->list))
		return false;
	*block = extent_list_get(text->list, (*index)++);
	while (*index < extent_list_count(text->list)) {
		Extent next = extent_list_get(text->list, *index);

		if ((next.flags ^ block->flags) & told)
			break;
		block->length += next.length;
		(*index)++;
	}
	return true;
}

/* Makes the line that begins with the extent at *index; moves *index behind
 * it.  Returns its length, 0 at the end of the list. */
static size_t next_line(const MapText *text, size_t *index, char *line)
{
	Extent block;
	char *end;

	if (!next_block(text, index, &block))
		return 0;
	if (text->format == MAP_FORMAT_MAPFILE)
		end = put_mapfile_line(line, &block);
	else
		end = put_json_line(line, &block,
			*index == extent_list_count(text->list));
	return end - line;
}

static unsigned hex_digits(uint64_t value)
{
	unsigned digits = (64 - __builtin_clzll(value | 1) + 3) / 4;

	return MAX(digits, 8);
}

static unsigned decimal_digits(uint64_t value)
{
	unsigned digits = 1;

	for (uint64_t next = 10; value >= next; next *= 10) {
		digits++;
		if (next > UINT64_MAX / 10)
			break;
	}
	return digits;
}

/* What the two functions above would write, without writing it: that takes a
 * second for eight million lines. */
static size_t line_length(const MapText *text, const Extent *block, bool last)
{
	static const char json[] = "{\"offset\":,\"length\":,\"dirty\":true,"
		"\"zero\":true},\n";
	size_t length = sizeof json - 1;

	if (text->format == MAP_FORMAT_MAPFILE)
		return strlen("0x  0x  +\n") + hex_digits(block->offset) +
			hex_digits(block->length);
	length += !(block->flags & EXTENT_DIRTY);
	length += !(block->flags & EXTENT_ZERO);
	return length - last + decimal_digits(block->offset) +
		decimal_digits(block->length);
}

static void build_index(MapText *text)
{
	size_t count = extent_list_count(text->list);
	Mark here = { .position = strlen(text->head) };
	size_t marked = 0;
	Extent block;

	g_array_append_val(text->marks, here);
	while (next_block(text, &here.extent, &block)) {
		here.position += line_length(text, &block,
			here.extent == count);
		if (here.extent - marked >= EXTENTS_PER_MARK) {
			g_array_append_val(text->marks, here);
			marked = here.extent;
		}
	}
	text->size = here.position + strlen(text->tail);
}

MapText *map_text_new(const ExtentList *list, enum map_format format)
{
	MapText *text = g_new0(MapText, 1);

	g_assert(extent_list_is_complete(list));
	text->list = list;
	text->format = format;
	text->head = format == MAP_FORMAT_MAPFILE ? mapfile_head : "[\n";
	text->tail = format == MAP_FORMAT_MAPFILE ? "" : "]\n";
	text->marks = g_array_new(FALSE, FALSE, sizeof(Mark));
	build_index(text);
	return text;
}

void map_text_free(MapText *text)
{
	if (!text)
		return;
	g_array_unref(text->marks);
	g_free(text);
}

uint64_t map_text_size(const MapText *text)
{
	return text->size;
}

/* The last mark at or before offset; the first one for the head. */
static const Mark *find_mark(const MapText *text, uint64_t offset)
{
	guint low = 0;
	guint high = text->marks->len;

	while (high - low > 1) {
		guint middle = low + (high - low) / 2;

		if (g_array_index(text->marks, Mark, middle).position <= offset)
			low = middle;
		else
			high = middle;
	}
	return &g_array_index(text->marks, Mark, low);
}

/* Puts the part of the piece that the window wants into it. */
static void window_put(Window *window, const char *piece, size_t length)
{
	uint64_t wanted = window->offset + window->filled;
	uint64_t skip = wanted - MIN(wanted, window->position);
	size_t count;

	window->position += length;
	if (skip >= length)
		return;
	count = MIN(length - skip, window->length - window->filled);
	memcpy(window->buffer + window->filled, piece + skip, count);
	window->filled += count;
}

size_t map_text_read(const MapText *text, uint64_t offset, char *buffer,
	size_t length)
{
	const Mark *mark = find_mark(text, offset);
	Window window = {
		.offset = offset,
		.buffer = buffer,
		.length = length,
	};
	size_t extent = mark->extent;
	char line[LINE_SIZE];
	size_t count;

	if (offset >= text->size)
		return 0;
	window_put(&window, text->head, strlen(text->head));
	window.position = mark->position;
	while (window.filled < window.length &&
			(count = next_line(text, &extent, line)) > 0)
		window_put(&window, line, count);
	window_put(&window, text->tail, strlen(text->tail));
	return window.filled;
}
