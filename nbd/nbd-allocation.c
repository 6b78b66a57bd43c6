/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include <libnbd.h>

#include "extent-list.h"
#include "fleece-error.h"
#include "nbd-export.h"
#include "nbd-request.h"

/* Bytes asked about at once: an answer of 4 KiB extents is then 2 MiB. */
#define STATUS_STEP (UINT64_C(1) << 30)

/* A server whose extents are smaller than this on average has no disk but a
 * way to fill our memory. */
#define SMALLEST_EXTENT 512
#define EXTENTS_FOR_FREE 1024

/* What an ExtentList can hold; the size is the server's word. */
#define LARGEST_DISK (UINT64_C(1) << 61)

typedef struct {
	ExtentList *list; /* caller's before and after, loop's while asking */
	uint64_t end;     /* likewise: of the range asked about */
	uint64_t extents; /* likewise: how many have come */

	GMutex lock;
	GCond answered;
	bool done; /* lock */
	int error; /* lock */
} Question;

static bool is_endless(const Question *question)
{
	return question->extents >
	       EXTENTS_FOR_FREE +
		       extent_list_filled(question->list) / SMALLEST_EXTENT;
}

/* Only the last extent may reach beyond the range that was asked about. */
static bool add_extent(Question *question, uint32_t length, uint32_t state)
{
	question->extents++;
	return extent_list_filled(question->list) < question->end &&
	       !is_endless(question) &&
	       extent_list_append(question->list, length,
		       state & LIBNBD_STATE_ZERO ? EXTENT_ZERO : 0);
}

/* Called by libnbd in the loop's thread; entries are pairs. */
static int on_extents(void *opaque, const char *context G_GNUC_UNUSED,
	uint64_t offset, uint32_t *entries, size_t count, int *error)
{
	Question *question = opaque;

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

static void on_done(void *opaque, int error)
{
	Question *question = opaque;

	g_mutex_lock(&question->lock);
	question->done = true;
	question->error = error;
	g_cond_signal(&question->answered);
	g_mutex_unlock(&question->lock);
}

static int wait_until_done(Question *question)
{
	int error;

	g_mutex_lock(&question->lock);
	while (!question->done)
		g_cond_wait(&question->answered, &question->lock);
	question->done = false;
	error = question->error;
	g_mutex_unlock(&question->lock);
	return error;
}

/* Asks about what follows in the list.  Returns 0 or a positive errno. */
static int ask(NbdExport *export, Question *question)
{
	uint64_t from = extent_list_filled(question->list);
	uint64_t left = extent_list_size(question->list) - from;
	NbdRequest *request = g_new0(NbdRequest, 1);
	int error;

	question->end = from + MIN(left, STATUS_STEP);
	request->type = NBD_REQUEST_STATUS;
	request->extents.callback = on_extents;
	request->extents.user_data = question;
	request->offset = from;
	request->length = question->end - from;
	request->done = on_done;
	request->opaque = question;
	nbd_export_submit_take(export, request);
	error = wait_until_done(question);
	if (!error && extent_list_filled(question->list) == from)
		error = EPROTO;
	return error;
}

static int ask_everything(NbdExport *export, ExtentList *list)
{
	Question question = {.list = list};
	int error = 0;

	g_mutex_init(&question.lock);
	g_cond_init(&question.answered);
	while (!error && !extent_list_is_complete(list))
		error = ask(export, &question);
	g_cond_clear(&question.answered);
	g_mutex_clear(&question.lock);
	return error;
}

ExtentList *nbd_export_read_allocation(NbdExport *export, GError **error)
{
	const NbdExportConfig *config = nbd_export_config(export);
	g_autoptr(ExtentList) list = NULL;
	int errnum = EFBIG;

	if (config->size <= LARGEST_DISK) {
		list = extent_list_new(config->size);
		errnum = ask_everything(export, list);
	}
	if (errnum) {
		fleece_set_error_errno(error, errnum,
			"NBD export \"%s\": block status", config->name);
		return NULL;
	}
	return g_steal_pointer(&list);
}
