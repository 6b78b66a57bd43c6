/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "nbd-handshake.h"
#include "nbd-server.h"

/* More is no server of disks but a way to fill our memory. */
#define EXPORTS_MAX 4096
#define CONTEXTS_MAX 4096

struct NbdSurvey {
	struct nbd_handle *handle;
	unsigned timeout_ms;
	char *named;
};

/* The server is there and answers, if not what it was asked last. */
static bool is_alive(const NbdSurvey *survey)
{
	return nbd_aio_is_negotiating(survey->handle) == 1;
}

void nbd_survey_free(NbdSurvey *survey)
{
	if (!survey)
		return;
	/* or the server would complain of a broken handshake */
	if (survey->handle && is_alive(survey))
		nbd_aio_opt_abort(survey->handle);
	nbd_close(survey->handle);
	free(survey->named); /* libnbd's */
	g_free(survey);
}

NbdSurvey *nbd_survey_new(const NbdServer *server, GError **error)
{
	g_autoptr(NbdSurvey) survey = g_new0(NbdSurvey, 1);

	survey->timeout_ms = server->timeout_ms;
	survey->handle = nbd_create();
	if (!survey->handle) {
		nbd_handshake_error(error);
		return NULL;
	}
	if (!nbd_handshake_dial(survey->handle, server, error))
		return NULL;
	survey->named = nbd_get_export_name(survey->handle);
	if (survey->named)
		return g_steal_pointer(&survey);
	nbd_handshake_error(error);
	return NULL;
}

const char *nbd_survey_named(const NbdSurvey *survey)
{
	return survey->named;
}

static bool has_name(GPtrArray *names, const char *name)
{
	return g_ptr_array_find_with_equal_func(names, name, g_str_equal,
		NULL);
}

/* Called by libnbd.  A name that comes twice is one export. */
static int on_name(void *opaque, const char *name,
	const char *description G_GNUC_UNUSED)
{
	GPtrArray *names = opaque;

	if (names->len <= EXPORTS_MAX && !has_name(names, name))
		g_ptr_array_add(names, g_strdup(name));
	return 0;
}

/* Waits for the answer to what was asked; begun is what libnbd said to it. */
static bool wait_for_answer(NbdSurvey *survey, int begun, const int *answer,
	GError **error)
{
	if (begun < 0)
		return nbd_handshake_error(error);
	return nbd_handshake_wait(survey->handle, survey->timeout_ms, error) &&
		nbd_handshake_check(*answer, error);
}

GPtrArray *nbd_survey_list(NbdSurvey *survey, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) failure = NULL;
	int answer = 0;
	nbd_list_callback found = { .callback = on_name, .user_data = names };
	nbd_completion_callback done = { .callback = nbd_handshake_answered,
		.user_data = &answer };
	int begun = nbd_aio_opt_list(survey->handle, found, done);

	if (!wait_for_answer(survey, begun, &answer, &failure)) {
		if (is_alive(survey))
			failure->code = EOPNOTSUPP;
		g_propagate_prefixed_error(error, g_steal_pointer(&failure),
			"list of exports: ");
		return NULL;
	}
	if (names->len <= EXPORTS_MAX)
		return g_steal_pointer(&names);
	fleece_set_error(error, EFBIG, "the server lists more than %u exports",
		EXPORTS_MAX);
	return NULL;
}

/* Called by libnbd for each metadata context of the export. */
static int on_context(void *opaque, const char *context)
{
	NbdExportFacts *facts = opaque;

	if (g_str_equal(context, LIBNBD_CONTEXT_BASE_ALLOCATION))
		facts->tells_allocation = true;
	else if (g_str_has_prefix(context, NBD_BITMAP_CONTEXT) &&
		facts->bitmaps->len < CONTEXTS_MAX)
		g_ptr_array_add(facts->bitmaps, g_strdup(context +
			strlen(NBD_BITMAP_CONTEXT)));
	return 0;
}

/* A refusal says that there are none.  Without structured replies a server can
 * list them (nbdkit --no-sr, which libnbd asks since 1.16) and tell nothing. */
static bool ask_contexts(NbdSurvey *survey, NbdExportFacts *facts,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	int answer = 0;
	nbd_context_callback found = { .callback = on_context,
		.user_data = facts };
	nbd_completion_callback done = { .callback = nbd_handshake_answered,
		.user_data = &answer };
	int begun;

	if (nbd_get_structured_replies_negotiated(survey->handle) != 1)
		return true;
	begun = nbd_aio_opt_list_meta_context(survey->handle, found, done);
	if (wait_for_answer(survey, begun, &answer, &failure) ||
	    is_alive(survey))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool ask_info(NbdSurvey *survey, GError **error)
{
	int answer = 0;
	nbd_completion_callback done = { .callback = nbd_handshake_answered,
		.user_data = &answer };
	int begun = nbd_aio_opt_info(survey->handle, done);

	return wait_for_answer(survey, begun, &answer, error);
}

static bool is_possible(const NbdExportFacts *facts)
{
	uint32_t minimum = facts->minimum;

	return minimum <= 65536 && (minimum & (minimum - 1)) == 0 &&
		(facts->maximum == 0 || facts->maximum >= minimum);
}

static bool take_block_size(struct nbd_handle *handle, NbdExportFacts *facts,
	GError **error)
{
	int64_t minimum = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	int64_t maximum = nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM);

	if (minimum < 0 || maximum < 0)
		return nbd_handshake_error(error);
	facts->minimum = minimum > 0 ? minimum : 1;
	facts->maximum = maximum;
	if (!is_possible(facts)) {
		fleece_set_error(error, EPROTO, "the server asks for blocks "
			"of %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
			" bytes", minimum, maximum);
		return false;
	}
	if (facts->size % facts->minimum == 0)
		return true;
	fleece_set_error(error, EOPNOTSUPP, "its end cannot be read: its size "
		"of %" G_GUINT64_FORMAT " bytes is no multiple of the "
		"server's block size of %u", facts->size, facts->minimum);
	return false;
}

static bool take_info(struct nbd_handle *handle, NbdExportFacts *facts,
	GError **error)
{
	int64_t size = nbd_get_size(handle);

	if (size < 0)
		return nbd_handshake_error(error);
	facts->size = size;
	facts->can_trim = nbd_is_read_only(handle) == 0 &&
		nbd_can_trim(handle) == 1;
	facts->can_share = nbd_can_multi_conn(handle) == 1;
	return take_block_size(handle, facts, error);
}

NbdExportFacts *nbd_survey_ask(NbdSurvey *survey, const char *name,
	GError **error)
{
	g_autoptr(NbdExportFacts) facts = g_new0(NbdExportFacts, 1);

	facts->name = g_strdup(name);
	facts->bitmaps = g_ptr_array_new_with_free_func(g_free);
	if (nbd_set_export_name(survey->handle, name) < 0) {
		nbd_handshake_error(error);
		return NULL;
	}
	if (ask_info(survey, error) &&
	    take_info(survey->handle, facts, error) &&
	    ask_contexts(survey, facts, error))
		return g_steal_pointer(&facts);
	g_prefix_error(error, "NBD export \"%s\": ", name);
	return NULL;
}

void nbd_export_facts_free(NbdExportFacts *facts)
{
	if (!facts)
		return;
	g_free(facts->name);
	g_ptr_array_unref(facts->bitmaps);
	g_free(facts);
}
