/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-fleece.h"

#include <errno.h>
#include <unistd.h>

#include "disk-view.h"
#include "domain-build.h"
#include "domain-undo.h"
#include "domain-uri.h"
#include "fleece-error.h"
#include "listener.h"
#include "nbd-server.h"
#include "served-disk.h"
#include "virt-backup.h"
#include "virt-checkpoint.h"
#include "virt-domain.h"

/* How long a fleecefs is waited for that may just be about to go. */
#define GRACE_US G_TIME_SPAN_SECOND
#define RETRY_US (50 * G_TIME_SPAN_MILLISECOND)
/* Where QEMU may make sockets, whoever it runs as and whatever confines it. */
#define QEMU_DIRECTORY "/var/lib/libvirt/qemu"
#define SHORT_NAME 20

static void disk_free(DomainDisk *disk)
{
	g_free(disk->export);
	g_free(disk->scratch);
	g_free(disk->base_name);
	g_clear_pointer(&disk->facts, chain_disk_free);
	g_clear_pointer(&disk->shown, nbd_export_facts_free);
	g_free(disk);
}

static void build_clear(DomainBuild *build)
{
	g_clear_pointer(&build->owner, owner_free);
	g_clear_pointer(&build->disks, g_ptr_array_unref);
	g_clear_pointer(&build->hardware, virt_hardware_free);
	g_clear_pointer(&build->checkpoints, g_ptr_array_unref);
	g_clear_pointer(&build->next, domain_checkpoint_free);
	g_clear_pointer(&build->socket, g_free);
	g_clear_pointer(&build->remote, domain_remote_free);
	g_clear_pointer(&build->images, image_host_free);
	g_clear_pointer(&build->fleece, fleece_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DomainBuild, build_clear)

static const Settings *settings(const DomainBuild *build)
{
	return build->request->settings;
}

/* Waits a moment for one that is being released. */
static bool clean_up_before(DomainBuild *build, GError **error)
{
	const DomainRequest *request = build->request;
	gint64 ends;

	if (!domain_check_lock(build->virt, request->uuid, error))
		return false;
	ends = g_get_monotonic_time() + GRACE_US;
	for (;;) {
		g_autoptr(GError) failure = NULL;

		if (domain_recover(build->virt, request->vm, request->uuid,
			    false, settings(build)->timeout_ms, &failure) &&
		    domain_check_idle(build->virt, request->uuid, &failure))
			return true;
		if (!g_error_matches(failure, FLEECE_ERROR, EBUSY) ||
		    g_get_monotonic_time() > ends) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		g_usleep(RETRY_US);
	}
}

/* --- where the files are --- */

/* The directory that libvirt has made for this domain as long as it runs;
 * NULL where we cannot find it. */
static char *private_directory(const DomainBuild *build)
{
	unsigned number = virt_domain_number(build->virt,
		build->request->uuid);
	g_autofree char *path = g_strdup_printf(QEMU_DIRECTORY
		"/domain-%u-%.*s", number, SHORT_NAME, build->request->domain);

	return number && access(path, W_OK | X_OK) == 0 ?
		g_steal_pointer(&path) : NULL;
}

/* The undo of a new directory comes after it, which cannot be helped: where it
 * will be is not known before. */
static bool choose_socket(DomainBuild *build, GError **error)
{
	UndoList *undo = build->request->undo;
	g_autofree char *own = private_directory(build);
	g_autofree char *made = NULL;

	if (own) {
		build->socket = g_strdup_printf("%s/fleecefs-%s.nbd", own,
			build->owner->session);
		return undo_list_add(undo, UNDO_FILE, build->socket, NULL,
			NULL, NULL, error);
	}
	made = listener_make_directory(build->owner->session, error);
	if (!made)
		return false;
	build->socket = listener_path(made);
	if (undo_list_add(undo, UNDO_DIRECTORY, made, NULL, NULL, NULL, error))
		return true;
	listener_remove_directory(made);
	return false;
}

static void warn_of_limit(const DomainBuild *build)
{
	if (settings(build)->scratch_limit.percent)
		served_disk_warn_take(build->request->vm, build->fleece,
			g_strdup("how full its scratch's filesystem gets "
				"cannot be seen from another machine: give "
				"scratch_limit a size"));
}

/* Of another machine no path is ours to touch: libvirt there takes away what it
 * has made with the job. */
static bool choose_place(DomainBuild *build, GError **error)
{
	g_autofree char *host = domain_uri_host(virt_host_uri(build->virt));

	if (!host)
		return domain_scratch_note(build, error) &&
			choose_socket(build, error);
	build->remote = domain_remote_new(host, settings(build), error);
	if (build->remote)
		warn_of_limit(build);
	return build->remote;
}

static bool prepare(DomainBuild *build, GError **error)
{
	return clean_up_before(build, error) &&
		domain_plan_disks(build, error) && choose_place(build, error);
}

/* --- the exports --- */

static DiskChain *chain_of(const DomainBuild *build, const DomainDisk *disk)
{
	DiskChain *chain = disk_chain_new(settings(build)->chain,
		disk->base.reason);

	if (disk->base.base)
		chain->base_ms = disk->base.base->checkpoint->instant_ms;
	chain->content_ms = build->fleece->instant_ms;
	return chain;
}

/* What has no dirty byte is as it was. */
static void settle_content(const DomainDisk *disk, const DiskView *view,
	DiskChain *chain)
{
	const ExtentList *extents = disk_view_extents(view);

	if (disk->base.base && extent_list_total(extents, EXTENT_DIRTY,
		    EXTENT_DIRTY) == 0)
		chain->content_ms = disk->base.base->checkpoint->content_ms;
}

static bool check_size(const DomainDisk *disk, GError **error)
{
	if (!disk->facts || disk->size == disk->shown->size)
		return true;
	fleece_set_error(error, EAGAIN, "disk %s: it was resized meanwhile",
		disk->disk->target);
	return false;
}

typedef struct {
	NbdServer server;
	ServerPlan plan;
	GHashTable *taken;
} Serving;

/* The bitmap of its base; what an export of a job's has is that. */
static const char *bitmap_of(const DomainBuild *build, const DomainDisk *disk)
{
	const GPtrArray *bitmaps = disk->shown->bitmaps;

	for (guint i = 0; disk->base_name && i < bitmaps->len; i++) {
		if (!build->off ||
		    g_str_equal(bitmaps->pdata[i], disk->base_name))
			return bitmaps->pdata[i];
	}
	return NULL;
}

static bool show_disk(DomainBuild *build, const Serving *serving,
	const DomainDisk *disk, GError **error)
{
	const DomainRequest *request = build->request;
	ServedDisk served = {
		.vm = request->vm,
		.server = &serving->server,
		.settings = request->settings,
		.plan = &serving->plan,
		.loops = request->loops,
		.n_loops = request->n_loops,
		.facts = disk->shown,
		.id = disk->disk->target,
		.bitmap = bitmap_of(build, disk),
		.written = !build->off,
	};
	Fleece *fleece = build->fleece;

	if (!check_size(disk, error))
		return false;
	if (disk->base_name && !served.bitmap) {
		fleece_set_error(error, EPROTO, "disk %s: QEMU does not show "
			"what has changed", disk->disk->target);
		return false;
	}
	served.chain = chain_of(build, disk);
	served.scratch_fd = domain_scratch_open(build, disk);
	if (!served_disk_add(&served, fleece, serving->taken, error))
		return false;
	settle_content(disk, fleece->disks->pdata[fleece->disks->len - 1],
		served.chain);
	return true;
}

static bool show_all(DomainBuild *build, const Serving *serving,
	GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		if (disk->chosen && !show_disk(build, serving, disk, error))
			return false;
	}
	return true;
}

/* *uri is what the server's belongs to. */
static NbdServer server_of(const DomainBuild *build, char **uri)
{
	g_autofree char *escaped = build->socket ?
		g_uri_escape_string(build->socket, "/", FALSE) : NULL;

	*uri = NULL;
	if (build->remote)
		return domain_remote_server(build->remote);
	*uri = escaped ? g_strdup_printf("nbd+unix:///?socket=%s", escaped) :
			 g_strdup(image_host_uri(build->images));
	return (NbdServer){ .uri = *uri,
		.timeout_ms = settings(build)->timeout_ms };
}

/* These exports are no snapshot-access: what makes that unsafe in an old QEMU
 * (quirks.c) is not in the way of their reads. */
static bool show(DomainBuild *build, GError **error)
{
	g_autofree char *uri = NULL;
	Serving serving = { .server = server_of(build, &uri) };
	bool shown;

	quirks_server_plan(true, &serving.plan);
	serving.taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
		NULL);
	shown = show_all(build, &serving, error);
	g_hash_table_unref(serving.taken);
	return shown;
}

static bool survey_all(DomainBuild *build, NbdSurvey *survey, GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		DomainDisk *disk = build->disks->pdata[i];

		if (!disk->chosen)
			continue;
		disk->shown = nbd_survey_ask(survey, disk->export, error);
		if (!disk->shown)
			return false;
		if (build->off)
			disk->size = disk->shown->size;
	}
	return true;
}

/* Asks what is exported. */
static bool survey(DomainBuild *build, GError **error)
{
	g_autofree char *uri = NULL;
	const NbdServer server = server_of(build, &uri);
	g_autoptr(NbdSurvey) asked = nbd_survey_new(&server, error);

	if (!asked)
		g_prefix_error(error, "%s: ", server.uri);
	return asked && survey_all(build, asked, error);
}

/* --- all of it --- */

static void begin(DomainBuild *build)
{
	g_autofree char *session = owner_new_session();
	Fleece *fleece = g_new0(Fleece, 1);

	build->virt = domain_host_virt(build->request->host);
	virt_host_set_timeout(build->virt, settings(build)->timeout_ms);
	build->owner = owner_self(session, "live");
	build->disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_free);
	fleece->view = settings(build)->view;
	fleece->disks = g_ptr_array_new();
	fleece->chains = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_chain_free);
	fleece->warnings = g_ptr_array_new_with_free_func(g_free);
	build->fleece = fleece;
}

/* The job goes first, and with it the exports: our connections end after
 * that. */
static void unwind(DomainBuild *build)
{
	const DomainRequest *request = build->request;
	g_autoptr(GError) error = NULL;

	domain_point_unwind(build);
	if (domain_undo_run(request->undo, build->virt,
		    settings(build)->timeout_ms, &error))
		return;
	g_warning("%s; this is tried again", error->message);
	domain_point_leave(build);
}

static bool begin_job(DomainBuild *build, GError **error)
{
	build->fleece->method = "libvirt";
	build->fleece->method_reason = g_strdup_printf("libvirt runs it: %s",
		virt_host_uri(build->virt));
	return prepare(build, error) && domain_point(build, error) &&
		survey(build, error) && show(build, error);
}

/* What increments can start from is in the images. */
static bool read_images(DomainBuild *build, GError **error)
{
	if (domain_is_remote(virt_host_uri(build->virt))) {
		fleece_set_error(error, EREMOTE, "it is shut off, and its "
			"images are on another machine");
		return false;
	}
	build->fleece->method = "image";
	build->fleece->method_reason = g_strdup("the VM is switched off");
	if (!domain_plan_disks(build, error) ||
	    !domain_off_open(build, error) || !survey(build, error) ||
	    !domain_plan_chain(build, error) || !show(build, error))
		return false;
	build->fleece->images = g_steal_pointer(&build->images);
	return true;
}

/* It undoes itself what it has made. */
static Fleece *make_directly(DomainBuild *build, GError **error)
{
	return clean_up_before(build, error) &&
		domain_plan_disks(build, error) ? domain_direct(build, error) :
						  NULL;
}

Fleece *domain_fleece_new(const DomainRequest *request, GError **error)
{
	g_auto(DomainBuild) build = { .request = request };

	begin(&build);
	if (!virt_domain_is_off(build.virt, request->uuid, &build.off, error))
		return NULL;
	if (!build.off && settings(&build)->via == VIA_MONITOR)
		return make_directly(&build, error);
	if (!(build.off ? read_images(&build, error) :
			  begin_job(&build, error))) {
		unwind(&build);
		return NULL;
	}
	build.fleece->nvram = domain_nvram_read(request, build.hardware);
	return g_steal_pointer(&build.fleece);
}

bool domain_is_stuck(DomainHost *host, const char *uuid, bool *answers)
{
	g_autoptr(GError) failure = NULL;
	enum virt_state state;
	bool known = virt_domain_state(domain_host_virt(host), uuid, &state,
		&failure);

	if (g_error_matches(failure, FLEECE_ERROR, ETIMEDOUT) ||
	    g_error_matches(failure, FLEECE_ERROR, ENOTCONN))
		*answers = false;
	return known && state == VIRT_STATE_IO_ERROR;
}

bool domain_scratch_used(DomainHost *host, const char *uuid, uint64_t *used)
{
	return virt_backup_scratch(domain_host_virt(host), uuid, used, NULL);
}
