/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach.h"

#include <errno.h>

#include "attach-plan.h"
#include "disk-chain.h"
#include "disk-view.h"
#include "fleece-error.h"
#include "instant.h"
#include "nbd-export.h"
#include "nbd-server.h"
#include "safe-name.h"

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
	quirks_server_plan(settings(attach)->server_safe, &attach->plan);
	return attach_plan_check(attach->exports, settings(attach), error) &&
		attach_plan_bitmaps(attach->exports, settings(attach),
			attach->bitmaps, error);
}

/* --- one disk --- */

typedef struct {
	const NbdExportFacts *facts;
	char *context;     /* of its bitmap; NULL: all is dirty */
	DiskView *view;    /* in Fleece.disks */
	DiskChain *chain;  /* in Fleece.chains */
	NbdExport *export; /* NULL once the view has it */
	ExtentList *dirty, *allocation;
} AttachDisk;

static void attach_disk_clear(AttachDisk *disk)
{
	g_clear_pointer(&disk->context, g_free);
	g_clear_pointer(&disk->export, nbd_export_free);
	g_clear_pointer(&disk->dirty, extent_list_free);
	g_clear_pointer(&disk->allocation, extent_list_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AttachDisk, attach_disk_clear)

static bool wants_allocation(const Attach *attach, const AttachDisk *disk)
{
	return attach->plan.holes && disk->facts->tells_allocation;
}

/* What is not known to see the same over several connections, or may only
 * have one request at a time, gets one connection. */
static unsigned count_connections(const Attach *attach, const AttachDisk *disk)
{
	if (!disk->facts->can_share || attach->plan.max_in_flight == 1)
		return 1;
	return MAX(settings(attach)->connections,
		(disk->context ? 1u : 0) + wants_allocation(attach, disk));
}

/* One context a connection, as far as there are enough of them: QEMU would
 * lose count of two. */
static bool connect_disk(const Attach *attach, AttachDisk *disk,
	GError **error)
{
	const char *wanted[3] = { NULL };
	unsigned n_wanted = 0;
	unsigned n = count_connections(attach, disk);

	if (disk->context)
		wanted[n_wanted++] = disk->context;
	if (wants_allocation(attach, disk))
		wanted[n_wanted++] = "base:allocation";
	if (n == 1)
		return nbd_export_connect_server(disk->export, &attach->server,
			wanted, error);
	for (unsigned i = 0; i < n; i++) {
		const char *own[] = { i < n_wanted ? wanted[i] : NULL, NULL };

		if (!nbd_export_connect_server(disk->export, &attach->server,
			    own, error))
			return false;
	}
	return true;
}

/* The middle of the longest range that is clean: cluster sizes differ, and
 * what is near a dirty byte may be readable with it. */
static bool find_clean(const ExtentList *dirty, uint64_t *offset)
{
	uint64_t longest = 0;

	for (size_t i = 0; i < extent_list_count(dirty); i++) {
		Extent extent = extent_list_get(dirty, i);

		if (extent.flags & EXTENT_DIRTY || extent.length <= longest)
			continue;
		longest = extent.length;
		*offset = extent.offset + extent.length / 2;
	}
	return longest > 0;
}

/* A copy-before-write filter that is limited to a bitmap lets nothing else be
 * read. */
static bool find_limit(AttachDisk *disk, GError **error)
{
	uint64_t offset = 0;
	int refused;

	if (!disk->dirty || !find_clean(disk->dirty, &offset))
		return true;
	refused = nbd_export_probe(disk->export, offset);
	if (nbd_export_is_lost(disk->export)) {
		fleece_set_error(error, EIO, "the server hung up at the first "
			"read");
		return false;
	}
	disk->chain->limited = refused;
	return true;
}

static void add_warning(Attach *attach, char *text)
{
	g_warning("VM %s: %s", attach->request->vm, text);
	g_ptr_array_add(attach->fleece->warnings, text);
}

/* A server that does not tell has no holes that we could show. */
static bool read_allocation(Attach *attach, AttachDisk *disk, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (wants_allocation(attach, disk)) {
		disk->allocation = nbd_export_read_allocation(disk->export,
			disk->chain->limited ? disk->dirty : NULL, &failure);
		if (disk->allocation)
			return true;
		if (nbd_export_is_lost(disk->export)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		add_warning(attach, g_strdup_printf("disk %s: no holes are "
			"shown: %s", disk_view_id(disk->view),
			failure->message));
	}
	disk->allocation = extent_list_new_uniform(disk->facts->size, 0);
	return true;
}

static bool read_maps(Attach *attach, AttachDisk *disk, GError **error)
{
	if (disk->context) {
		disk->dirty = nbd_export_read_dirty(disk->export,
			disk->context, error);
		if (!disk->dirty)
			return false;
	}
	return find_limit(disk, error) &&
		read_allocation(attach, disk, error);
}

/* The largest power of two that is no more than value. */
static unsigned power_of_two(unsigned value)
{
	return 1u << (g_bit_storage(value) - 1);
}

static unsigned piece_of(const Attach *attach, const NbdExportFacts *facts)
{
	unsigned piece = attach->plan.piece;
	unsigned most = facts->maximum ? power_of_two(facts->maximum) : 0;

	return piece && most ? MIN(piece, most) : MAX(piece, most);
}

static NbdExport *new_export(const Attach *attach, const AttachDisk *disk)
{
	NbdExportConfig config = {
		.name = disk->facts->name,
		.size = disk->facts->size,
		.timeout_ms = settings(attach)->timeout_ms,
		.read_timeout_ms = settings(attach)->read_timeout_ms,
		.max_in_flight = attach->plan.max_in_flight,
		.piece = piece_of(attach, disk->facts),
		.block = disk->facts->minimum,
		.lost = disk_view_lost,
		.opaque = disk->view,
	};
	unsigned number = attach->fleece->disks->len;

	return nbd_export_new(attach->request->loops[number %
			attach->request->n_loops], &config);
}

static void add_to_fleece(Attach *attach, AttachDisk *disk, const char *bitmap)
{
	const char *id = attach_disk_id(disk->facts->name);

	disk->view = disk_view_new_take(safe_name_unique(id, attach->taken),
		id, disk->facts->size, -1);
	disk_view_set_foreign(disk->view, disk->facts->can_trim ?
		attach->plan.cluster : 0);
	g_ptr_array_add(attach->fleece->disks, disk->view);
	disk->chain = disk_chain_new(NULL, bitmap ? NULL : "no-bitmap");
	disk->chain->bitmap = g_strdup(bitmap);
	disk->chain->content_ms = attach->fleece->instant_ms;
	g_ptr_array_add(attach->fleece->chains, disk->chain);
}

static bool attach_disk(Attach *attach, unsigned number, GError **error)
{
	const char *bitmap = attach->bitmaps[number];
	g_auto(AttachDisk) disk = {
		.facts = attach->exports->pdata[number],
		.context = bitmap ? g_strconcat(NBD_BITMAP_CONTEXT, bitmap,
			NULL) : NULL,
	};

	add_to_fleece(attach, &disk, bitmap);
	disk.export = new_export(attach, &disk);
	if (connect_disk(attach, &disk, error) &&
	    read_maps(attach, &disk, error) &&
	    disk_view_attach_take(disk.view, g_steal_pointer(&disk.export),
		    disk.allocation, disk.dirty, error))
		return true;
	g_prefix_error(error, "disk %s: ", disk_view_id(disk.view));
	return false;
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
		add_warning(attach, g_strdup_printf("disk %s: the server does "
			"not let be read what its bitmap calls clean: there "
			"is .delta alone",
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
	fleece->method = "nbd";
	fleece->method_reason = g_strdup_printf("others have made it: %s",
		request->uri);
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
