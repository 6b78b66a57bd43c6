/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach.h"

#include <errno.h>

#include "attach-plan.h"
#include "disk-chain.h"
#include "disk-view.h"
#include "fleece-error.h"
#include "instant.h"
#include "nbd-server.h"
#include "served-disk.h"

typedef struct {
	const AttachRequest *request;
	NbdServer server;
	ServerPlan plan;
	GPtrArray *exports;   /* NbdExportFacts */
	const char **bitmaps; /* in them; one for each */
	GHashTable *taken;    /* names of files */
	Fleece *fleece;
} Attach;

static void attach_clear(Attach *attach)
{
	g_clear_pointer(&attach->exports, g_ptr_array_unref);
	g_clear_pointer(&attach->bitmaps, g_free);
	g_clear_pointer(&attach->taken, g_hash_table_unref);
	g_clear_pointer(&attach->fleece, fleece_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Attach, attach_clear)

static const Settings *settings(const Attach *attach)
{
	return attach->request->settings;
}

/* --- what there is --- */

static bool fail_with_list(NbdSurvey *survey, GError *failure, GError **error)
{
	g_autoptr(GPtrArray) names = NULL;
	g_autofree char *text = NULL;

	if (g_error_matches(failure, FLEECE_ERROR, ENOENT))
		names = nbd_survey_list(survey, NULL);
	g_propagate_error(error, failure);
	if (!names)
		return false;
	text = attach_list_names(names);
	g_prefix_error(error, "the server has %s: ", text);
	return false;
}

static bool ask_about(Attach *attach, NbdSurvey *survey, const char *name,
	GError **error)
{
	GError *failure = NULL;
	NbdExportFacts *facts = nbd_survey_ask(survey, name, &failure);

	if (!facts)
		return fail_with_list(survey, failure, error);
	g_ptr_array_add(attach->exports, facts);
	return true;
}

static bool ask_about_chosen(Attach *attach, NbdSurvey *survey,
	const GPtrArray *names, GError **error)
{
	const char *globs = settings(attach)->disks;
	g_autofree char *text = NULL;

	for (guint i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];

		if (globs_match(globs, attach_disk_id(name)) &&
		    !ask_about(attach, survey, name, error))
			return false;
	}
	if (attach->exports->len)
		return true;
	text = attach_list_names(names);
	fleece_set_error(error, ENOENT, "no export that disk=%s chooses; the "
		"server has: %s", globs ? globs : "*", text);
	return false;
}

/* A server that does not say what it has may have its default export. */
static bool ask_about_all(Attach *attach, NbdSurvey *survey, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(GPtrArray) names = nbd_survey_list(survey, &failure);

	if (names)
		return ask_about_chosen(attach, survey, names, error);
	if (g_error_matches(failure, FLEECE_ERROR, EOPNOTSUPP))
		return ask_about(attach, survey, "", error);
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool look(Attach *attach, GError **error)
{
	g_autoptr(NbdSurvey) survey = nbd_survey_new(&attach->server, error);

	if (!survey)
		return false;
	if (nbd_survey_named(survey)[0])
		return ask_about(attach, survey, nbd_survey_named(survey),
			error);
	return ask_about_all(attach, survey, error);
}

static bool plan(Attach *attach, GError **error)
{
	attach->bitmaps = g_new0(const char *, attach->exports->len);
	quirks_server_plan(attach->request->images ||
		settings(attach)->server_safe, &attach->plan);
	return attach_plan_check(attach->exports, settings(attach), error) &&
		attach_plan_bitmaps(attach->exports, settings(attach),
			attach->bitmaps, error);
}

/* --- one disk --- */

static DiskChain *chain_of(const Attach *attach, const char *bitmap)
{
	DiskChain *chain = disk_chain_new(NULL, bitmap ? NULL : "no-bitmap");

	chain->bitmap = g_strdup(bitmap);
	chain->content_ms = attach->fleece->instant_ms;
	return chain;
}

static bool attach_disk(Attach *attach, unsigned number, GError **error)
{
	const AttachRequest *request = attach->request;
	const NbdExportFacts *facts = attach->exports->pdata[number];
	const char *bitmap = attach->bitmaps[number];
	ServedDisk disk = {
		.vm = request->vm,
		.server = &attach->server,
		.settings = request->settings,
		.plan = &attach->plan,
		.loops = request->loops,
		.n_loops = request->n_loops,
		.facts = facts,
		.id = attach_disk_id(facts->name),
		.bitmap = bitmap,
		.chain = chain_of(attach, bitmap),
		.scratch_fd = -1,
	};

	return served_disk_add(&disk, attach->fleece, attach->taken, error);
}

/* --- all of them --- */

/* .raw has no place where only a part can be read. */
static void settle_view(Attach *attach)
{
	Fleece *fleece = attach->fleece;

	for (guint i = 0; i < fleece->disks->len &&
		fleece->view != VIEW_DELTA; i++) {
		const DiskChain *chain = fleece->chains->pdata[i];

		if (!chain->limited)
			continue;
		fleece->view = VIEW_DELTA;
		served_disk_warn_take(attach->request->vm, fleece,
			g_strdup_printf("disk %s: the server does not let be "
				"read what its bitmap calls clean: there is "
				".delta alone",
				disk_view_id(fleece->disks->pdata[i])));
	}
}

static void begin(Attach *attach)
{
	const AttachRequest *request = attach->request;
	Fleece *fleece = g_new0(Fleece, 1);

	attach->server = (NbdServer){
		.uri = request->uri,
		.require_tls = request->settings->tls_required,
		.certificates = request->settings->tls_certificates,
		.psk = request->settings->tls_psk,
		.timeout_ms = request->settings->timeout_ms,
	};
	attach->exports = g_ptr_array_new_with_free_func(
		(GDestroyNotify)nbd_export_facts_free);
	attach->taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
		NULL);
	fleece->view = request->settings->view;
	fleece->instant_ms = instant_now();
	fleece->method = request->images ? "image" : "nbd";
	fleece->method_reason = request->images ?
		g_strdup("the VM is switched off") :
		g_strdup_printf("others have made it: %s", request->uri);
	fleece->disks = g_ptr_array_new();
	fleece->chains = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_chain_free);
	fleece->warnings = g_ptr_array_new_with_free_func(g_free);
	attach->fleece = fleece;
}

Fleece *attach_new(const AttachRequest *request, GError **error)
{
	g_auto(Attach) attach = { .request = request };

	begin(&attach);
	if (!look(&attach, error) || !plan(&attach, error)) {
		if (!request->images)
			g_prefix_error(error, "NBD server %s: ", request->uri);
		return NULL;
	}
	for (unsigned i = 0; i < attach.exports->len; i++) {
		if (!attach_disk(&attach, i, error))
			return NULL;
	}
	settle_view(&attach);
	return g_steal_pointer(&attach.fleece);
}
