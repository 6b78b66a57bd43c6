/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include <libnbd.h>

#include "await.h"
#include "extent-list.h"
#include "fleece-error.h"
#include "nbd-export.h"
#include "nbd-request.h"

/* Bytes asked about at once: an answer of 4 KiB extents is then 2 MiB. */
#define STATUS_STEP (UINT64_C(1) << 30)

/* The one bit of a qemu:dirty-bitmap context (qemu/docs/interop/nbd.txt). */
#define STATE_DIRTY 1u

/* A server whose extents are smaller than this on average has no disk but a
 * way to fill our memory. */
#define SMALLEST_EXTENT 512
#define EXTENTS_FOR_FREE 1024

/* What an ExtentList can hold; the size is the server's word. */
#define LARGEST_DISK (UINT64_C(1) << 61)

/* What a state of the context means. */
typedef unsigned StateFlags(uint32_t state);

typedef struct {
	const char *context;
	StateFlags *flags;
	const ExtentList *where; /* NULL: everywhere; else where it is dirty */

	ExtentList *list; /* caller's before and after, loop's while asking */
	uint64_t end;     /* likewise: of the range asked about */
	uint64_t extents; /* likewise: how many have come */
} Question;

static bool is_endless(const Question *question)
{
	return question->extents >
	       EXTENTS_FOR_FREE +
		       extent_list_filled(question->list) / SMALLEST_EXTENT;
}

/* Only the last extent may reach beyond the range that was asked about; where
 * others may not be asked about, what it says of them does not count. */
static bool add_extent(Question *question, uint32_t length, uint32_t state)
{
	uint64_t filled = extent_list_filled(question->list);
	uint64_t counted = length;

	question->extents++;
	if (filled >= question->end || is_endless(question))
		return false;
	if (question->where)
		counted = MIN(counted, question->end - filled);
	return extent_list_append(question->list, counted,
		question->flags(state));
}

/* Called by libnbd in the loop's thread, for each context that the connection
 * has; entries are pairs. */
static int on_extents(void *opaque, const char *context, uint64_t offset,
	uint32_t *entries, size_t count, int *error)
{
	Question *question = opaque;

	if (!g_str_equal(context, question->context))
		return 0;
	*error = EPROTO;
	/* A second answer to the same question would be taken for the range
	 * behind it. */
	if (count % 2 != 0 || offset != extent_list_filled(question->list))
		return -1;
	for (size_t i = 0; i < count; i += 2) {
		if (!add_extent(question, entries[i], entries[i + 1]))
			return -1;
	}
	*error = 0;
	return 0;
}

/* How far the range reaches that begins at from and is to be asked about; 0
 * where from is not to be asked about. */
static uint64_t askable(const Question *question, uint64_t from)
{
	uint64_t size = extent_list_size(question->list);
	Extent extent;

	if (!question->where)
		return size;
	extent = extent_list_get(question->where,
		extent_list_find(question->where, from));
	return extent.flags & EXTENT_DIRTY ? extent.offset + extent.length : 0;
}

/* Asks about [from, question->end).  Returns 0 or a positive errno. */
static int ask(NbdExport *export, Question *question, uint64_t from)
{
	NbdRequest *request = g_new0(NbdRequest, 1);
	Await await;
	int error;

	request->type = NBD_REQUEST_STATUS;
	request->context = question->context;
	request->extents.callback = on_extents;
	request->extents.user_data = question;
	request->offset = from;
	request->length = question->end - from;
	request->done = await_done;
	request->opaque = &await;
	await_init(&await);
	nbd_export_submit_take(export, request);
	error = await_end(&await);
	if (!error && extent_list_filled(question->list) == from)
		error = EPROTO;
	return error;
}

/* Goes on in the list, by asking or without. */
static int step(NbdExport *export, Question *question)
{
	uint64_t from = extent_list_filled(question->list);
	uint64_t end = askable(question, from);
	uint64_t next;

	if (end) {
		question->end = MIN(end, from + STATUS_STEP);
		return ask(export, question, from);
	}
	next = extent_list_next(question->where, from, EXTENT_DIRTY,
		EXTENT_DIRTY);
	return extent_list_append(question->list, next - from, EXTENT_ZERO) ?
		0 : ENOMEM;
}

static int ask_everything(NbdExport *export, Question *question)
{
	int error = 0;

	while (!error && !extent_list_is_complete(question->list))
		error = step(export, question);
	return error;
}

static ExtentList *read_map(NbdExport *export, Question *question,
	GError **error)
{
	const NbdExportConfig *config = nbd_export_config(export);
	g_autoptr(ExtentList) list = NULL;
	int errnum = EFBIG;

	if (config->size <= LARGEST_DISK) {
		list = extent_list_new(config->size);
		question->list = list;
		errnum = ask_everything(export, question);
	}
	if (errnum) {
		fleece_set_error_errno(error, errnum,
			"NBD export \"%s\": block status of %s",
			config->name, question->context);
		return NULL;
	}
	return g_steal_pointer(&list);
}

static unsigned allocation_flags(uint32_t state)
{
	return state & LIBNBD_STATE_ZERO ? EXTENT_ZERO : 0;
}

ExtentList *nbd_export_read_allocation(NbdExport *export,
	const ExtentList *where, GError **error)
{
	Question question = { .context = LIBNBD_CONTEXT_BASE_ALLOCATION,
		.flags = allocation_flags, .where = where };

	return read_map(export, &question, error);
}

static unsigned dirty_flags(uint32_t state)
{
	return state & STATE_DIRTY ? EXTENT_DIRTY : 0;
}

ExtentList *nbd_export_read_dirty(NbdExport *export, const char *context,
	GError **error)
{
	Question question = { .context = context, .flags = dirty_flags };

	return read_map(export, &question, error);
}
