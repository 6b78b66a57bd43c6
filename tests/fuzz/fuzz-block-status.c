/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server that describes a disk in any way.  This takes the place of
 * nbd/nbd-export.c: it answers what is asked as the bytes say, and writes
 * down what it has said.  A map that comes out of it covers the disk, says of
 * each byte what was said of it, and comes of no answer that breaks the
 * protocol.
 */
#include <errno.h>

#include "fuzz.h"
#include "nbd-request.h"

/* What was said about a part of the disk. */
typedef struct {
	uint64_t offset;
	uint64_t length;
	uint32_t state;
} Said;

static struct {
	NbdExportConfig config;
	const ExtentList *where;
	FuzzInput in;
	GArray *said;
	bool broke; /* it has broken the protocol */
} server;

const NbdExportConfig *nbd_export_config(const NbdExport *export)
{
	return &server.config;
}

/* Only what may be asked about, and never behind the end. */
static void check_question(const NbdRequest *request)
{
	Extent extent;

	g_assert_cmpint(request->type, ==, NBD_REQUEST_STATUS);
	g_assert_cmpuint(request->length, >, 0);
	g_assert_cmpuint(request->length, <=, UINT64_C(1) << 30);
	g_assert_cmpuint(request->offset + request->length, <=,
		server.config.size);
	if (!server.where)
		return;
	extent = extent_list_get(server.where,
		extent_list_find(server.where, request->offset));
	g_assert_true(extent.flags & EXTENT_DIRTY);
	g_assert_cmpuint(request->offset + request->length, <=,
		extent.offset + extent.length);
}

/* How much of it counts: not what reaches over the end, nor, where others may
 * not be asked about, beyond what was asked about. */
static uint64_t counted(const NbdRequest *request, uint64_t offset,
	uint64_t length)
{
	uint64_t end = server.where ? request->offset + request->length :
				      server.config.size;

	return MIN(length, end - MIN(end, offset));
}

/* One chunk: pairs, and where it is said to begin. */
static int say_chunk(const NbdRequest *request, bool first)
{
	unsigned how = fuzz_byte(&server.in);
	unsigned count = fuzz_byte(&server.in) % 16;
	unsigned shift = fuzz_byte(&server.in) % 32;
	uint64_t offset = request->offset;
	uint64_t end = offset;
	uint32_t entries[2 * 16];
	int error = 0;

	for (unsigned i = 0; i < count; i++) {
		uint32_t length = fuzz_byte(&server.in) << shift;
		Said said = { end, counted(request, end, length),
			fuzz_byte(&server.in) };

		/* only the last one may reach beyond what was asked about */
		server.broke |= length == 0 ||
			end >= request->offset + request->length;
		entries[2 * i] = length;
		entries[2 * i + 1] = said.state;
		end += length;
		g_array_append_val(server.said, said);
	}
	server.broke |= count > 0 && (!first || how == 1 || how == 2);
	request->extents.callback(request->extents.user_data,
		request->context, how == 1 ? offset + 512 : offset, entries,
		2 * count - (how == 2 && count > 0), &error);
	return error;
}

/* As libnbd does: the first error counts, and the callback goes on. */
void nbd_export_submit_take(NbdExport *export, NbdRequest *request)
{
	unsigned chunks = fuzz_byte(&server.in) % 4;
	unsigned errnum = fuzz_byte(&server.in);
	unsigned before = server.said->len;
	int error = errnum > 200 ? EINVAL : 0;

	check_question(request);
	for (unsigned i = 0; i < chunks; i++) {
		int told = say_chunk(request, server.said->len == before);

		error = error ? error : told;
	}
	server.broke |= server.said->len == before || errnum > 200;
	request->done(request->opaque, error);
	g_free(request);
}

static unsigned flags_of(uint32_t state, bool dirty)
{
	if (dirty)
		return state & 1 ? EXTENT_DIRTY : 0;
	return state & LIBNBD_STATE_ZERO ? EXTENT_ZERO : 0;
}

static void check_said(const ExtentList *map, const Said *said, bool dirty)
{
	uint64_t at = said->offset;

	while (at < said->offset + said->length) {
		Extent extent = extent_list_get(map, extent_list_find(map, at));

		g_assert_cmpuint(extent.flags, ==,
			flags_of(said->state, dirty));
		at = extent.offset + extent.length;
	}
}

/* What may not be asked about is a hole, and the rest was spoken of. */
static void check_unasked(const ExtentList *map)
{
	uint64_t spoken = 0;
	uint64_t size = server.config.size;

	for (guint i = 0; i < server.said->len; i++)
		spoken += g_array_index(server.said, Said, i).length;
	if (!server.where) {
		g_assert_cmpuint(spoken, ==, size);
		return;
	}
	g_assert_cmpuint(spoken, ==, extent_list_total(server.where,
		EXTENT_DIRTY, EXTENT_DIRTY));
	for (size_t i = 0; i < extent_list_count(server.where); i++) {
		Extent extent = extent_list_get(server.where, i);

		if (!(extent.flags & EXTENT_DIRTY))
			g_assert_cmpuint(extent_list_next(map, extent.offset,
				EXTENT_ZERO, 0), >=,
				extent.offset + extent.length);
	}
}

static void check_map(const ExtentList *map, bool dirty)
{
	g_assert_false(server.broke);
	g_assert_cmpuint(extent_list_size(map), ==, server.config.size);
	g_assert_true(extent_list_is_complete(map));
	for (guint i = 0; i < server.said->len; i++)
		check_said(map, &g_array_index(server.said, Said, i), dirty);
	check_unasked(map);
}

static ExtentList *make_where(uint64_t size, FuzzInput *in)
{
	unsigned extents = fuzz_byte(in) % 8;
	ExtentList *where = extent_list_new(size);

	for (unsigned i = 0; i < extents; i++) {
		uint64_t length = fuzz_number(in, 2) << 10;

		extent_list_append(where, length,
			i % 2 ? EXTENT_DIRTY : 0);
	}
	if (!extent_list_is_complete(where))
		extent_list_append(where, size, EXTENT_DIRTY);
	return where;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned how = fuzz_byte(&in);
	g_autoptr(ExtentList) where = NULL;
	g_autoptr(ExtentList) map = NULL;
	g_autoptr(GError) error = NULL;

	memset(&server, 0, sizeof(server));
	server.config.name = "disk";
	server.config.size = fuzz_number(&in, 4) << (how & 7);
	if (how & 8 && !(how & 16))
		where = make_where(server.config.size, &in);
	server.where = where;
	server.said = g_array_new(FALSE, FALSE, sizeof(Said));
	server.in = in;
	map = how & 16 ? nbd_export_read_dirty(NULL, "c", &error) :
			 nbd_export_read_allocation(NULL, where, &error);
	fuzz_assert_told(map, error);
	if (map)
		check_map(map, how & 16);
	g_array_unref(server.said);
	return 0;
}
