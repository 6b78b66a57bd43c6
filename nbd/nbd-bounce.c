/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-bounce.h"

#include <errno.h>
#include <string.h>

#include "nbd-request.h"

typedef struct {
	void *buffer; /* the caller's */
	size_t length, skip;
	NbdDone *done;
	void *opaque;
	char data[];
} Bounce;

bool nbd_bounce_is_needed(const NbdExport *export, size_t length,
	uint64_t offset)
{
	unsigned block = nbd_export_config(export)->block;

	return block > 1 && (offset | length) & (block - 1);
}

static void bounce_done(void *opaque, int error)
{
	g_autofree Bounce *bounce = opaque;

	if (!error)
		memcpy(bounce->buffer, bounce->data + bounce->skip,
			bounce->length);
	bounce->done(bounce->opaque, error);
}

void nbd_bounce_read(NbdExport *export, void *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque)
{
	uint64_t mask = nbd_export_config(export)->block - 1;
	uint64_t start = offset & ~mask;
	size_t whole = ((offset + length + mask) & ~mask) - start;
	Bounce *bounce = g_try_malloc(sizeof *bounce + whole);

	if (!bounce) {
		done(opaque, ENOMEM);
		return;
	}
	*bounce = (Bounce){ buffer, length, offset - start, done, opaque };
	nbd_export_read_async(export, bounce->data, whole, start, bounce_done,
		bounce);
}
