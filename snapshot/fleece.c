/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>
#include <unistd.h>

#include "autofd.h"
#include "disk-view.h"
#include "fleece-error.h"
#include "listener.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-query.h"
#include "recover.h"
#include "scratch.h"

/* How long an owner that is not known to be leaving is waited for: it may
 * just not have noticed yet that it was unmounted. */
#define GRACE_US G_TIME_SPAN_SECOND
/* A QEMU that did not answer the set-up is not waited for much longer. */
#define UNWIND_MS 5000
/*
 * Replies of this many clusters fit into a socket (net.core.wmem_default is
 * 208 KiB).  Of a dead daemon's sockets QEMU itself holds our ends, and nobody
 * reads from them: a reply that does not fit would keep its export there for
 * ever, even block-export-del mode=hard.
 */
#define REPLIES_MAX 3
#define RETRY_US (50 * G_TIME_SPAN_MILLISECOND)

static void build_disk_free(BuildDisk *disk)
{
	g_free(disk->scratch);
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
	g_free(fleece->checkpoint);
	g_free(fleece);
}

static void build_clear(FleeceBuild *build)
{
	g_clear_pointer(&build->client, qmp_client_free);
	g_clear_pointer(&build->agent, guest_agent_free);
	g_clear_pointer(&build->owner, owner_free);
	g_clear_pointer(&build->disks, g_ptr_array_unref);
	g_clear_pointer(&build->found, g_ptr_array_unref);
	g_clear_pointer(&build->chain, g_ptr_array_unref);
	g_clear_pointer(&build->fleece, fleece_free);
	g_clear_pointer(&build->directory, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FleeceBuild, build_clear)

static UndoList *undo(FleeceBuild *build)
{
	return build->request->undo;
}

static bool note_undo(FleeceBuild *build, enum undo_kind kind, const char *a,
	GError **error)
{
	return undo_list_add(undo(build), kind, a, NULL, NULL, NULL, error);
}

static bool become_owner(FleeceBuild *build, GError **error)
{
	unsigned id;

	if (!undo_list_add(undo(build), UNDO_OWNER, build->owner->session,
		    NULL, NULL, &id, error))
		return false;
	if (owner_claim(build->client, build->owner, error))
		return true;
	if (g_error_matches(*error, FLEECE_ERROR, EBUSY))
		undo_list_drop(undo(build), id);
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
	build->client = qmp_client_connect(request->qmp, timeout, error);
	if (!build->client)
		return false;
	if (recover(build->client, request->vm, &teardown, error) &&
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

static bool gather_facts(QmpClient *client, QemuFacts *facts, GError **error)
{
	unsigned major, minor, micro;
	int iothreads;

	qmp_client_version(client, &major, &minor, &micro);
	facts->version = QEMU_VERSION(major, minor, micro);
	iothreads = qmp_query_iothreads(client, error);
	facts->iothreads = iothreads > 0;
	return iothreads >= 0 &&
		qmp_schema_has_driver_option(client, "copy-before-write",
			"on-cbw-error", &facts->filter_breaks, error) &&
		qmp_schema_has_argument(client, "blockdev-backup",
			"on-cbw-error", &facts->job_breaks, error);
}

static bool make_plan(FleeceBuild *build, GError **error)
{
	QemuPlan *plan = &build->fleece->plan;
	QemuFacts facts;

	build->fleece->qemu_version = g_strdup(
		qmp_client_version_text(build->client));
	if (!gather_facts(build->client, &facts, error))
		return false;
	if (!quirks_plan(&facts, build->request->settings, plan, error)) {
		g_prefix_error(error, "QEMU %s: ",
			build->fleece->qemu_version);
		return false;
	}
	build->fleece->method = method_to_text(plan->method);
	build->fleece->method_reason = g_strdup(plan->reason);
	for (unsigned i = 0; plan->warnings[i]; i++)
		g_warning("VM %s: %s", build->request->vm, plan->warnings[i]);
	return true;
}

/* QEMU has one NBD server: one that others use is left alone. */
static bool check_server_free(FleeceBuild *build, GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(build->client,
		error);

	for (guint i = 0; exports && i < exports->len; i++) {
		const QmpBlockExport *export = exports->pdata[i];

		if (!g_str_equal(export->type, "nbd"))
			continue;
		fleece_set_error(error, EBUSY,
			"QEMU's NBD server is in use by others (export %s of "
			"node %s): wait until that has ended", export->id,
			export->node);
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

/* Opens the scratch and makes the view that will own it. */
static bool open_scratch(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	const Disk *found = disk->disk;
	bool reserve = build->fleece->plan.reserve_scratch;

	if (!found->read_only) {
		disk->scratch_fd = scratch_open(
			build->request->settings->scratch, found->size,
			reserve, error);
		if (disk->scratch_fd < 0)
			return false;
	}
	disk->view = disk_view_new_take(found->name, found->id, found->size,
		disk->scratch_fd);
	g_ptr_array_add(build->fleece->disks, disk->view);
	return true;
}

/* Hands the scratch to QEMU: the fd set is only the way in. */
static bool add_scratch(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	g_autofree char *note = g_strdup_printf("fleecefs:%s:%u",
		build->owner->session, disk->number);
	int64_t fdset;

	if (!open_scratch(build, disk, error))
		return false;
	if (disk->scratch_fd < 0)
		return true;
	return note_undo(build, UNDO_FDSET, note, error) &&
		qmp_add_fd(build->client, disk->scratch_fd, note, &fdset,
			error) &&
		note_undo(build, UNDO_SCRATCH, disk->scratch, error) &&
		qmp_blockdev_add_scratch(build->client, disk->scratch, fdset,
			error) &&
		qmp_remove_fd(build->client, fdset, error);
}

typedef bool BuildStep(FleeceBuild *build, BuildDisk *disk, GError **error);

static bool for_disks(FleeceBuild *build, BuildStep *step, GError **error)
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

static bool find_disks(FleeceBuild *build, GError **error)
{
	build->found = discover_disks(build->client,
		build->request->settings->disks, error);
	if (!build->found)
		return false;
	build->disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)build_disk_free);
	for (guint i = 0; i < build->found->len; i++)
		g_ptr_array_add(build->disks, build_disk_new(build, i));
	return true;
}

static unsigned count_connections(const FleeceBuild *build)
{
	return build->disks->len * build->connections;
}

/* A refused start means that the server is somebody else's: its undo must not
 * stay in the list. */
static bool start_server_on(FleeceBuild *build, const char *fdname,
	GError **error)
{
	unsigned id;

	if (!undo_list_add(undo(build), UNDO_SERVER, NULL, NULL, NULL, &id,
		    error))
		return false;
	if (qmp_nbd_server_start(build->client, fdname,
		    MAX(2, count_connections(build)), error))
		return true;
	if (qmp_error_is_refusal(*error))
		undo_list_drop(undo(build), id);
	g_prefix_error(error, "QEMU's NBD server (it has only one): ");
	return false;
}

/* Its name is not known before it is there. */
static bool make_directory(FleeceBuild *build, GError **error)
{
	build->directory = listener_make_directory(error);
	if (!build->directory)
		return false;
	if (undo_list_add(undo(build), UNDO_DIRECTORY, build->directory, NULL,
		    NULL, &build->directory_undo, error))
		return true;
	listener_remove_directory(build->directory);
	return false;
}

static bool start_server(FleeceBuild *build, GError **error)
{
	g_autofree char *fdname = g_strdup_printf("fl-%s-l",
		build->owner->session);
	AUTOFD int listener = -1;

	if (!make_directory(build, error))
		return false;
	listener = listener_open(build->directory, error);
	if (listener < 0)
		return false;
	build->owner->server = true;
	build->owner->fds = count_connections(build);
	return owner_renew(build->client, build->owner, error) &&
		note_undo(build, UNDO_MONITOR_FD, fdname, error) &&
		qmp_getfd(build->client, listener, fdname, error) &&
		start_server_on(build, fdname, error);
}

static bool prepare(FleeceBuild *build, GError **error)
{
	return claim(build, error) && make_plan(build, error) &&
		check_server_free(build, error) && find_disks(build, error) &&
		fleece_chain_plan(build, error) &&
		fleece_chain_clean(build, error) &&
		for_disks(build, add_scratch, error) &&
		start_server(build, error);
}

/* The deposits are given back only after their export is gone, so their undo
 * comes below its. */
static bool note_deposits(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	unsigned n = build->connections;

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *name = g_strdup_printf("fl-%s-n%u",
			build->owner->session, disk->number * n + i);

		if (!note_undo(build, UNDO_MONITOR_FD, name, error))
			return false;
	}
	return true;
}

/* Of a disk that nobody writes to the disk itself is exported. */
static bool add_export(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	bool written = disk->scratch_fd >= 0;
	QmpExport export = {
		.id = disk->export,
		.node = written ? disk->access : disk->disk->node,
		.name = disk->export,
		.writable = written,
		.fixed = build->fleece->plan.fixed_iothread,
		.bitmap = fleece_chain_bitmap(disk),
		.bitmap_node = disk->scratch,
	};

	return note_deposits(build, disk, error) &&
		note_undo(build, UNDO_EXPORT, disk->export, error) &&
		qmp_block_export_add(build->client, &export, error);
}

/* A socket of which QEMU holds a duplicate: our death is no disconnect. */
static int deposited_socket(FleeceBuild *build, unsigned number,
	GError **error)
{
	g_autofree char *name = g_strdup_printf("fl-%s-n%u",
		build->owner->session, number);
	AUTOFD int fd = listener_connect(build->directory, error);

	if (fd < 0 || !qmp_getfd(build->client, fd, name, error))
		return -1;
	return autofd_steal(&fd);
}

/* Of two contexts on one connection QEMU would lose count. */
static const char *context_of(const BuildDisk *disk, unsigned connection)
{
	if (connection == 0)
		return "base:allocation";
	return connection == 1 ? fleece_chain_context(disk) : NULL;
}

static bool connect_export(FleeceBuild *build, BuildDisk *disk,
	NbdExport *export, GError **error)
{
	unsigned n = build->connections;

	for (unsigned i = 0; i < n; i++) {
		int fd = deposited_socket(build, disk->number * n + i, error);

		if (fd < 0 ||
		    !nbd_export_connect_take(export, fd, context_of(disk, i),
			    error))
			return false;
	}
	return true;
}

/* A limited filter refuses what became dirty after it was made, in a pause. */
static bool explain_refusal(const BuildDisk *disk, GError **error)
{
	if (disk->part->limited && error &&
		g_error_matches(*error, FLEECE_ERROR, EINVAL)) {
		g_clear_error(error);
		fleece_set_error(error, EAGAIN, "something else than the "
			"guest (a block job, an NBD client?) wrote to it while "
			"the guest was stopped: try again, or without "
			"view=delta");
	}
	return false;
}

/* What is dirty and what is allocated; *dirty is NULL where all is dirty. */
static bool read_maps(const BuildDisk *disk, NbdExport *export,
	ExtentList **dirty, ExtentList **allocation, GError **error)
{
	const char *context = fleece_chain_context(disk);

	if (context) {
		*dirty = nbd_export_read_dirty(export, context, error);
		if (!*dirty)
			return false;
	}
	*allocation = nbd_export_read_allocation(export,
		disk->part->limited ? *dirty : NULL, error);
	return *allocation || explain_refusal(disk, error);
}

/*
 * A QEMU that mixes clusters also calls a hole what the guest has made one
 * since the instant.  Where the old data is in the scratch, it was none.
 */
static bool mend_map(const FleeceBuild *build, const BuildDisk *disk,
	ExtentList **allocation, GError **error)
{
	g_autoptr(ExtentList) told = *allocation;
	g_autoptr(ExtentList) copied = NULL;

	*allocation = NULL;
	if (!build->fleece->plan.mixes_clusters || disk->scratch_fd < 0) {
		*allocation = g_steal_pointer(&told);
		return true;
	}
	copied = scratch_copied(disk->scratch_fd, disk->disk->size, error);
	if (!copied)
		return false;
	*allocation = extent_list_without(told, EXTENT_ZERO, copied);
	if (!*allocation)
		fleece_set_error(error, ENOMEM, "no memory for its map");
	return *allocation;
}

/* The map is read before anybody can trim: QEMU refuses block status over
 * what was trimmed. */
static bool attach_view(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	const FleeceRequest *request = build->request;
	NbdExportConfig config = {
		.name = disk->export,
		.size = disk->disk->size,
		.timeout_ms = request->settings->timeout_ms,
		.read_timeout_ms = request->settings->read_timeout_ms,
		.max_in_flight = build->fleece->plan.max_in_flight,
		.on_one = REPLIES_MAX,
		.piece = FLEECE_CLUSTER,
		.lost = disk_view_lost,
		.opaque = disk->view,
	};
	g_autoptr(NbdExport) export = nbd_export_new(
		request->loops[disk->number % request->n_loops], &config);
	g_autoptr(ExtentList) allocation = NULL;
	g_autoptr(ExtentList) dirty = NULL;

	if (!connect_export(build, disk, export, error) ||
	    !read_maps(disk, export, &dirty, &allocation, error) ||
	    !mend_map(build, disk, &allocation, error) ||
	    !disk_view_attach_take(disk->view, g_steal_pointer(&export),
		    allocation, dirty, error))
		return false;
	fleece_chain_shown(disk);
	return true;
}

static void remove_directory(FleeceBuild *build)
{
	listener_remove_directory(build->directory);
	undo_list_drop(undo(build), build->directory_undo);
}

static bool export_all(FleeceBuild *build, GError **error)
{
	if (!for_disks(build, add_export, error) ||
	    !for_disks(build, attach_view, error))
		return false;
	remove_directory(build);
	g_free(build->owner->state);
	build->owner->state = g_strdup("live");
	return owner_renew(build->client, build->owner, error);
}

static bool run_undo(const FleeceRequest *request, GError **error)
{
	return undo_list_run_at(request->undo, request->qmp,
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
}

Fleece *fleece_new(const FleeceRequest *request, GError **error)
{
	g_auto(FleeceBuild) build = { .request = request };

	/* each map is asked for over a connection of its own */
	build.connections = MAX(request->settings->connections,
		request->settings->chain ? 2 : 1);
	build.fleece = g_new0(Fleece, 1);
	build.fleece->view = request->settings->view;
	build.fleece->disks = g_ptr_array_new();
	build.fleece->warnings = g_ptr_array_new_with_free_func(g_free);
	if (!prepare(&build, error) || !fleece_point(&build, error) ||
	    !export_all(&build, error)) {
		unwind(&build);
		return NULL;
	}
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
static bool undo_once(UndoList *list, const char *qmp, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(QmpClient) client = qmp_client_connect(qmp, timeout_ms,
		error);

	if (!client)
		return false;
	announce_teardown(client);
	return undo_list_run(list, client, error);
}

bool fleece_undo(UndoList *list, const char *qmp, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (undo_once(list, qmp, timeout_ms, &failure))
		return true;
	if (!g_error_matches(failure, FLEECE_ERROR, ETIMEDOUT))
		return undo_list_run_at(list, qmp, timeout_ms, error);
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}
