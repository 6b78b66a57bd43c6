/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>
#include <unistd.h>

#include "autofd.h"
#include "disk-view.h"
#include "fleece-error.h"
#include "listener.h"
#include "qmp-access.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "recover.h"
#include "scratch.h"
#include "scratch-probe.h"

/* How long an owner that is not known to be leaving is waited for: it may
 * just not have noticed yet that it was unmounted. */
#define GRACE_US G_TIME_SPAN_SECOND
/* A QEMU that did not answer the set-up is not waited for much longer. */
#define UNWIND_MS 5000
#define RETRY_US (50 * G_TIME_SPAN_MILLISECOND)

static void build_disk_free(BuildDisk *disk)
{
	g_free(disk->scratch);
	g_free(disk->scratch_file);
	g_free(disk->filter);
	g_free(disk->access);
	g_free(disk->job);
	g_free(disk->export);
	g_free(disk);
}

void fleece_free(Fleece *fleece)
{
	if (!fleece)
		return;
	for (guint i = 0; fleece->disks && i < fleece->disks->len; i++) {
		disk_view_close(fleece->disks->pdata[i]);
		disk_view_free(fleece->disks->pdata[i]);
	}
	g_clear_pointer(&fleece->disks, g_ptr_array_unref);
	g_clear_pointer(&fleece->chains, g_ptr_array_unref);
	g_clear_pointer(&fleece->warnings, g_ptr_array_unref);
	g_free(fleece->qemu_version);
	g_free(fleece->method_reason);
	g_free(fleece->domain_xml);
	g_clear_pointer(&fleece->nvram, g_bytes_unref);
	g_free(fleece->checkpoint);
	image_host_free(fleece->images);
	g_free(fleece);
}

static void build_clear(FleeceBuild *build)
{
	g_clear_pointer(&build->client, qmp_client_free);
	g_clear_pointer(&build->agent, agent_free);
	g_clear_pointer(&build->owner, owner_free);
	g_clear_pointer(&build->disks, g_ptr_array_unref);
	g_clear_pointer(&build->found, g_ptr_array_unref);
	g_clear_pointer(&build->chain, g_ptr_array_unref);
	g_clear_pointer(&build->fleece, fleece_free);
	g_clear_pointer(&build->directory, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FleeceBuild, build_clear)

bool fleece_build_undo(
	FleeceBuild *build, enum undo_kind kind, const char *a, GError **error)
{
	return undo_list_add(
		build->request->undo, kind, a, NULL, NULL, NULL, error);
}

bool fleece_build_each(FleeceBuild *build, BuildStep *step, GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];

		if (!step(build, disk, error)) {
			g_prefix_error(error, "disk %s: ", disk->disk->id);
			return false;
		}
	}
	return true;
}

static bool become_owner(FleeceBuild *build, GError **error)
{
	unsigned id;

	if (!undo_list_add(build->request->undo, UNDO_OWNER,
		    build->owner->session, NULL, NULL, &id, error))
		return false;
	if (owner_claim(build->client, build->owner, error))
		return true;
	if (g_error_matches(*error, FLEECE_ERROR, EBUSY))
		undo_list_drop(build->request->undo, id);
	return false;
}

/* One try to become the owner of the VM's fleece. *wait_us: how long it is
 * worth waiting for the present owner to go. */
static bool try_claim(FleeceBuild *build, gint64 *wait_us, GError **error)
{
	const FleeceRequest *request = build->request;
	unsigned timeout = request->settings->timeout_ms;
	bool teardown = false;

	*wait_us = 0;
	build->client = monitor_connect(request->monitor, timeout, error);
	if (!build->client)
		return false;
	if (recover(build->client, request->monitor, request->vm, &teardown,
		    error) &&
		become_owner(build, error))
		return true;
	*wait_us = teardown ? timeout * G_TIME_SPAN_MILLISECOND : GRACE_US;
	return false;
}

/* The monitor is given back between two tries: the owner needs it to go. */
static bool claim(FleeceBuild *build, GError **error)
{
	gint64 began = g_get_monotonic_time();
	g_autofree char *session = owner_new_session();

	build->owner = owner_self(session, "setup");
	for (;;) {
		g_autoptr(GError) failure = NULL;
		gint64 wait_us;

		if (try_claim(build, &wait_us, &failure))
			return true;
		if (!g_error_matches(failure, FLEECE_ERROR, EBUSY) ||
			g_get_monotonic_time() - began > wait_us) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		g_clear_pointer(&build->client, qmp_client_free);
		g_usleep(RETRY_US);
	}
}

static bool gather_facts(QmpClient *client, const Settings *settings,
	QemuFacts *facts, GError **error)
{
	g_autoptr(GError) failure = NULL;
	unsigned major, minor, micro;
	int iothreads;

	qmp_client_version(client, &major, &minor, &micro);
	facts->version = QEMU_VERSION(major, minor, micro);
	iothreads = qmp_query_iothreads(client, &failure);
	facts->daemon = g_error_matches(failure, QMP_ERROR,
		QMP_ERROR_COMMAND_NOT_FOUND);
	if (facts->daemon)
		iothreads = qmp_count_objects(client, "iothread", error);
	else if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	facts->iothreads = iothreads > 0;
	facts->access = false;
	return iothreads >= 0 && (settings->method != METHOD_ACCESS ||
		qmp_query_access_api(client, &facts->access, error));
}

static bool make_plan(FleeceBuild *build, GError **error)
{
	QemuPlan *plan = &build->fleece->plan;
	QemuFacts facts;

	build->fleece->qemu_version =
		g_strdup(qmp_client_version_text(build->client));
	if (!gather_facts(build->client, build->request->settings, &facts,
		    error))
		return false;
	if (!quirks_plan(&facts, build->request->settings, plan, error)) {
		g_prefix_error(error, "QEMU %s: ", build->fleece->qemu_version);
		return false;
	}
	build->fleece->method = method_to_text(plan->method);
	build->fleece->method_reason = g_strdup(plan->reason);
	return true;
}

/* Its disks are another QEMU's, whose guest writes to them past this one; and
 * an export would have this one take them, and write what it knows of an image
 * over what the other does. */
bool fleece_check_here(const char *status, GError **error)
{
	static const char *const elsewhere[] = { "inmigrate", "postmigrate",
		"finish-migrate", NULL };

	if (!g_strv_contains(elsewhere, status))
		return true;
	fleece_set_error(error, EBUSY, "it is in another QEMU (%s): it comes "
		"from there or has gone there", status);
	return false;
}

static bool check_here(FleeceBuild *build, GError **error)
{
	g_autofree char *status = NULL;
	bool running;

	/* a storage daemon has no guest */
	return build->fleece->plan.daemon ||
		(qmp_query_status(build->client, &running, &status, error) &&
			fleece_check_here(status, error));
}

/* QEMU has one NBD server: one that others use is left alone. */
static bool check_server_free(FleeceBuild *build, GError **error)
{
	g_autoptr(GPtrArray) exports =
		qmp_query_block_exports(build->client, error);

	for (guint i = 0; exports && i < exports->len; i++) {
		const QmpBlockExport *export = exports->pdata[i];

		if (!g_str_equal(export->type, "nbd"))
			continue;
		fleece_set_error(error, EBUSY,
			"QEMU's NBD server is in use by others (export %s of "
			"node %s): wait until that has ended",
			export->id, export->node);
		return false;
	}
	return exports != NULL;
}

static BuildDisk *build_disk_new(const FleeceBuild *build, unsigned number)
{
	const char *session = build->owner->session;
	BuildDisk *disk = g_new0(BuildDisk, 1);

	disk->disk = build->found->pdata[number];
	disk->number = number;
	disk->scratch_fd = -1;
	disk->scratch = g_strdup_printf("fl-%s-s%u", session, number);
	disk->filter = g_strdup_printf("fl-%s-c%u", session, number);
	disk->access = g_strdup_printf("fl-%s-a%u", session, number);
	disk->job = g_strdup_printf("fl-%s-j%u", session, number);
	disk->export = g_strdup_printf("fl-%s-e%u", session, number);
	return disk;
}

/* Nobody could end a set-up that waits for it. */
static bool check_scratch(FleeceBuild *build, GError **error)
{
	const Settings *settings = build->request->settings;

	return scratch_check_answers(settings->scratch, settings->timeout_ms,
		error);
}

/* Opens the scratch and makes the view that will own it. */
static bool open_scratch(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	const Disk *found = disk->disk;
	bool reserve = build->fleece->plan.reserve_scratch;

	if (!found->read_only) {
		disk->scratch_fd =
			scratch_open(build->request->settings->scratch,
				found->size, reserve, error);
		if (disk->scratch_fd < 0)
			return false;
	}
	disk->view = disk_view_new_take(
		found->name, found->id, found->size, disk->scratch_fd);
	g_ptr_array_add(build->fleece->disks, disk->view);
	return true;
}

static bool add_scratch_node(FleeceBuild *build, const BuildDisk *disk,
	const char *path, GError **error)
{
	return undo_list_add(build->request->undo, UNDO_SCRATCH,
		       disk->scratch_file ? disk->scratch_file : disk->scratch,
		       build->request->settings->scratch, NULL, NULL, error) &&
		qmp_blockdev_add_scratch(build->client, disk->scratch,
			disk->scratch_file, path, error);
}

/* The fd set is only the way in. */
static bool hand_over_scratch(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	g_autofree char *note = g_strdup_printf(
		"fleecefs:%s:%u", build->owner->session, disk->number);
	g_autofree char *path = NULL;
	int64_t fdset;

	if (!fleece_build_undo(build, UNDO_FDSET, note, error) ||
	    !qmp_add_fd(build->client, disk->scratch_fd, note, &fdset, error))
		return false;
	path = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT, fdset);
	return add_scratch_node(build, disk, path, error) &&
		qmp_remove_fd(build->client, fdset, error);
}

/* It has no name that could be left behind, but a path all the same. */
static bool show_scratch(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", getpid(),
		disk->scratch_fd);

	return add_scratch_node(build, disk, path, error);
}

static bool add_scratch(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	if (!open_scratch(build, disk, error))
		return false;
	if (disk->scratch_fd < 0)
		return true;
	return build->fleece->plan.daemon ? show_scratch(build, disk, error) :
		hand_over_scratch(build, disk, error);
}

static bool list_disks(FleeceBuild *build, GError **error)
{
	const Settings *settings = build->request->settings;
	QemuPlan *plan = &build->fleece->plan;

	build->found = plan->daemon ?
		discover_exported(build->client, settings, plan, error) :
		discover_disks(build->client, settings->disks,
			build->request->names, error);
	if (!build->found)
		return false;
	build->disks =
		g_ptr_array_new_with_free_func((GDestroyNotify)build_disk_free);
	for (guint i = 0; i < build->found->len; i++)
		g_ptr_array_add(build->disks, build_disk_new(build, i));
	return true;
}

static bool find_disks(FleeceBuild *build, GError **error)
{
	bool found = list_disks(build, error) &&
		fleece_access_plan(build, error);
	const char *const *warnings = build->fleece->plan.warnings;

	for (unsigned i = 0; warnings[i]; i++)
		g_warning("VM %s: %s", build->request->vm, warnings[i]);
	return found;
}

static bool prepare(FleeceBuild *build, GError **error)
{
	return claim(build, error) && make_plan(build, error) &&
	       check_here(build, error) &&
	       check_server_free(build, error) && find_disks(build, error) &&
	       fleece_check_jobs(build, error) &&
	       fleece_find_draining(build, error) &&
	       fleece_chain_plan(build, error) &&
	       fleece_chain_clean(build, error) &&
	       check_scratch(build, error) &&
	       fleece_build_each(build, add_scratch, error) &&
	       fleece_serve(build, error);
}

static bool run_undo(const FleeceRequest *request, GError **error)
{
	return undo_list_run_at(request->undo, request->monitor,
		MIN(request->settings->timeout_ms, UNWIND_MS), error);
}

static void unwind(FleeceBuild *build)
{
	const FleeceRequest *request = build->request;
	g_autoptr(GError) error = NULL;

	g_clear_pointer(&build->client, qmp_client_free);
	fleece_extend_freeze(build);
	if (run_undo(request, &error))
		return;
	if (build->freeze_undo && fleece_insist_on_thaw(build, NULL)) {
		g_clear_error(&error);
		if (run_undo(request, &error))
			return;
	}
	g_warning("%s; this is tried again", error->message);
	for (guint i = 0; i < build->fleece->disks->len; i++)
		disk_view_leave_scratch(build->fleece->disks->pdata[i]);
}

/* Whoever fills that filesystem stops the guest. */
static void warn_of_shared_scratch(FleeceBuild *build)
{
	const char *scratch = build->request->settings->scratch;

	for (guint i = 0; i < build->found->len; i++) {
		const Disk *disk = build->found->pdata[i];
		char *warning;

		if (disk->read_only || !disk->file ||
		    !scratch_shares(scratch, disk->file))
			continue;
		warning = g_strdup_printf("scratch=%s is on the filesystem of "
			"the image of disk %s: where that runs full, the guest "
			"suffers", scratch, disk->id);
		g_debug("VM %s: %s", build->request->vm, warning);
		g_ptr_array_add(build->fleece->warnings, warning);
		build->fleece->scratch_shared = true;
		return;
	}
}

Fleece *fleece_new(const FleeceRequest *request, GError **error)
{
	g_auto(FleeceBuild) build = {.request = request};

	/* each map is asked for over a connection of its own */
	build.connections = MAX(request->settings->connections,
		request->settings->chain ? 2 : 1);
	build.fleece = g_new0(Fleece, 1);
	build.fleece->view = request->settings->view;
	build.fleece->disks = g_ptr_array_new();
	build.fleece->warnings = g_ptr_array_new_with_free_func(g_free);
	if (!prepare(&build, error) || !fleece_point(&build, error) ||
		!fleece_export(&build, error)) {
		unwind(&build);
		return NULL;
	}
	warn_of_shared_scratch(&build);
	return g_steal_pointer(&build.fleece);
}

/* So that a mount of this VM that begins now waits instead of failing. */
static void announce_teardown(QmpClient *client)
{
	g_autoptr(Owner) owner = owner_read(client, NULL);

	if (!owner || owner->pid != getpid())
		return;
	g_free(owner->state);
	owner->state = g_strdup("teardown");
	owner_renew(client, owner, NULL);
}

/* One connection does for both: QEMU's monitor needs a moment from one client
 * to the next. */
static bool undo_once(UndoList *list, const Monitor *monitor,
	unsigned timeout_ms, GError **error)
{
	g_autoptr(QmpClient) client = monitor_connect(monitor, timeout_ms,
		error);

	if (!client)
		return false;
	announce_teardown(client);
	return undo_list_run(list, client, error);
}

bool fleece_undo(UndoList *list, const Monitor *monitor, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (!undo_list_keeps_guest(list) &&
	    !undo_list_wait_scratch(list, timeout_ms, error))
		return false;
	if (undo_once(list, monitor, timeout_ms, &failure))
		return true;
	if (!g_error_matches(failure, FLEECE_ERROR, ETIMEDOUT))
		return undo_list_run_at(list, monitor, timeout_ms, error);
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}
