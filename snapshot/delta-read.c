/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "disk-view-read.h"

#include <errno.h>
#include <string.h>

#include "await.h"
#include "gather.h"

typedef struct {
	DiskView *view;
	enum read_kind kind;
	Gather *gather;
} DeltaRead;

/* What is dirty is asked for, what is clean is zeros. */
static void begin_piece(const DeltaRead *read, char *buffer, uint64_t offset,
	uint64_t length, bool dirty)
{
	int error;

	gather_add(read->gather);
	if (dirty) {
		disk_view_read_as(read->view, read->kind, buffer, length,
			offset, gather_part_done, read->gather);
		return;
	}
	error = disk_view_may_read(read->view, read->kind, length, offset);
	if (!error)
		memset(buffer, 0, length);
	gather_part_done(read->gather, error);
}

void disk_view_read_delta_as(DiskView *view, enum read_kind kind, void *buffer,
	size_t length, uint64_t offset, DiskDone *done, void *opaque)
{
	const ExtentList *extents = disk_view_extents(view);
	DeltaRead read = { view, kind, gather_new(done, opaque) };
	uint64_t end = offset + length;

	for (uint64_t at = offset; at < end;) {
		Extent extent = extent_list_get(extents,
			extent_list_find(extents, at));
		unsigned dirty = extent.flags & EXTENT_DIRTY;
		uint64_t next = extent_list_next(extents, at, EXTENT_DIRTY,
			dirty ^ EXTENT_DIRTY);

		next = MIN(next, end);
		begin_piece(&read, (char *)buffer + (at - offset), at,
			next - at, dirty);
		at = next;
	}
	gather_part_done(read.gather, 0);
}

void disk_view_read_delta(DiskView *view, void *buffer, size_t length,
	uint64_t offset, DiskDone *done, void *opaque)
{
	disk_view_read_delta_as(view, READ_ASKED, buffer, length, offset, done,
		opaque);
}

static int probe_at(DiskView *view, uint64_t offset)
{
	Await await;
	char byte;
	int error;

	await_init(&await);
	disk_view_read(view, &byte, 1, offset, await_done, &await);
	error = await_end(&await);
	/* freed in this moment: there is nothing to see any more */
	return error == ENODATA ? 0 : error;
}

/* The first byte that QEMU has to be asked for and that was not freed; the
 * size of the disk where there is none. */
static uint64_t probe_offset(DiskView *view, unsigned flags)
{
	const ExtentList *extents = disk_view_extents(view);
	uint64_t size = disk_view_size(view);
	uint64_t at = 0;

	while (at < size) {
		uint64_t found = extent_list_next(extents, at,
			EXTENT_ZERO | flags, flags);

		at = found < size ? disk_view_next_kept(view, found) : size;
		if (at == found)
			break;
	}
	return MIN(at, size);
}

int disk_view_probe(DiskView *view)
{
	uint64_t at = probe_offset(view, EXTENT_DIRTY);

	return at < disk_view_size(view) ? probe_at(view, at) : 0;
}
