/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map-text.h - an extent list as a file: GNU ddrescue mapfile or JSON
 *
 * The text is never held: it is made from the list when a piece of it is
 * read, at any offset, always the same bytes.  An index of one offset for
 * every few hundred extents makes random access cheap.
 *
 * Mapfile: the format of GNU ddrescue's manual, "Mapfile structure".  '+' is
 * dirty, '?' is clean; the blocks cover [0, size) without gap or overlap and
 * neighbours differ, so ZERO does not split a block.  Comment lines begin
 * with '#'; the one line before the blocks is current_pos, current_status
 * and current_pass: "0x00000000     ?               1".  An empty disk has
 * no block line.
 *
 * JSON: an array with one object a line,
 * {"offset":0,"length":65536,"dirty":true,"zero":false}; neighbours differ
 * in dirty or zero.
 *
 * A MapText never changes once made: any thread may read it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#include "extent-list.h"

typedef struct MapText MapText;

enum map_format {
	MAP_FORMAT_MAPFILE,
	MAP_FORMAT_JSON,
};

/* list must be complete and outlive the result. */
MapText *map_text_new(const ExtentList *list, enum map_format format);
void map_text_free(MapText *text);

/* How long the whole text is, in bytes. */
uint64_t map_text_size(const MapText *text);

/*
 * Copies up to length bytes of the text from offset on into buffer.  Returns
 * how many: less than length only at the end of the text.
 */
size_t map_text_read(const MapText *text, uint64_t offset, char *buffer,
	size_t length);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MapText, map_text_free)
