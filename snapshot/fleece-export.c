/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>

#include "autofd.h"
#include "fleece-error.h"
#include "listener.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "scratch.h"

/*
 * Bytes of replies that fit into a socket (net.core.wmem_default is 208 KiB).
 * Of a dead daemon's sockets QEMU itself holds our ends, and nobody reads from
 * them: a reply that does not fit would keep its export there for ever, even
 * block-export-del mode=hard.
 */
#define REPLIES_MAX (204 << 10)

static unsigned count_connections(const FleeceBuild *build)
{
	return build->disks->len * build->connections;
}

/* On a socket of ours or, without one, on one that QEMU makes in the
 * directory. */
static bool start_server(FleeceBuild *build, const char *fdname,
	GError **error)
{
	unsigned connections = MAX(2, count_connections(build));
	g_autofree char *path = listener_path(build->directory);

	return fdname ? qmp_nbd_server_start(build->client, fdname,
				connections, error) :
		qmp_nbd_server_start_at(build->client, path, connections,
			error);
}

/* A refused start means that the server is somebody else's: its undo must not
 * stay in the list. */
static bool start_server_on(
	FleeceBuild *build, const char *fdname, GError **error)
{
	unsigned id;

	if (!undo_list_add(build->request->undo, UNDO_SERVER, NULL, NULL, NULL,
		    &id, error))
		return false;
	if (start_server(build, fdname, error))
		return true;
	if (qmp_error_is_refusal(*error))
		undo_list_drop(build->request->undo, id);
	g_prefix_error(error, "QEMU's NBD server (it has only one): ");
	return false;
}

/* Where it will be is not known before it is there. */
static bool make_directory(FleeceBuild *build, GError **error)
{
	build->directory = listener_make_directory(build->owner->session,
		error);
	if (!build->directory)
		return false;
	if (undo_list_add(build->request->undo, UNDO_DIRECTORY,
		    build->directory, NULL, NULL, &build->directory_undo,
		    error))
		return true;
	listener_remove_directory(build->directory);
	return false;
}

static bool serve_on_ours(FleeceBuild *build, GError **error)
{
	g_autofree char *fdname =
		g_strdup_printf("fl-%s-l", build->owner->session);
	AUTOFD int listener = listener_open(build->directory, error);

	return listener >= 0 &&
	       fleece_build_undo(build, UNDO_MONITOR_FD, fdname, error) &&
	       qmp_getfd(build->client, listener, fdname, error) &&
	       start_server_on(build, fdname, error);
}

bool fleece_serve(FleeceBuild *build, GError **error)
{
	bool daemon = build->fleece->plan.daemon;

	if (!make_directory(build, error))
		return false;
	build->owner->server = true;
	build->owner->fds = daemon ? 0 : count_connections(build);
	if (!owner_renew(build->client, build->owner, error))
		return false;
	return daemon ? start_server_on(build, NULL, error) :
			serve_on_ours(build, error);
}

/* --- one disk --- */

/* The deposits are given back only after their export is gone, so their undo
 * comes below its. */
static bool note_deposits(
	FleeceBuild *build, const BuildDisk *disk, GError **error)
{
	unsigned n = build->fleece->plan.daemon ? 0 : build->connections;

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *name = g_strdup_printf("fl-%s-n%u",
			build->owner->session, disk->number * n + i);

		if (!fleece_build_undo(build, UNDO_MONITOR_FD, name, error))
			return false;
	}
	return true;
}

/* Of a disk that nobody writes to the disk itself is exported. */
static bool add_export(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	bool written = disk->scratch_fd >= 0;
	const char *bitmap = fleece_chain_bitmap(disk);
	const char *const bitmaps[] = { bitmap, NULL };
	QmpExport export = {
		.id = disk->export,
		.node = written ? disk->access : disk->disk->node,
		.name = disk->export,
		.writable = written,
		.fixed = build->fleece->plan.fixed_iothread,
		.bitmaps = bitmap ? bitmaps : NULL,
		.bitmap_node = disk->scratch,
	};

	return note_deposits(build, disk, error) &&
	       fleece_build_undo(build, UNDO_EXPORT, disk->export, error) &&
	       qmp_block_export_add(build->client, &export, error);
}

/*
 * A disk that is made smaller under a filter has the next read of what was cut
 * off abort QEMU.  An export to which nobody connects refuses any other size
 * meanwhile, as a job does.
 */
static bool hold_size(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	const QemuPlan *plan = &build->fleece->plan;
	g_autofree char *id = g_strdup_printf("fl-%s-r%u",
		build->owner->session, disk->number);
	QmpExport export = {
		.id = id,
		.node = plan->method == METHOD_ACCESS ? disk->disk->node :
							disk->filter,
		.name = id,
	};

	if (!plan->hold_size || disk->scratch_fd < 0)
		return true;
	return fleece_build_undo(build, UNDO_EXPORT, id, error) &&
	       qmp_block_export_add(build->client, &export, error);
}

/* A socket of which QEMU holds a duplicate: our death is no disconnect.  For a
 * storage daemon, which takes none, it is one: quirks.c. */
static int deposited_socket(FleeceBuild *build, unsigned number, GError **error)
{
	g_autofree char *name =
		g_strdup_printf("fl-%s-n%u", build->owner->session, number);
	AUTOFD int fd = listener_connect(build->directory, error);

	if (fd < 0)
		return -1;
	if (!build->fleece->plan.daemon &&
	    !qmp_getfd(build->client, fd, name, error))
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

static bool connect_export(
	FleeceBuild *build, BuildDisk *disk, NbdExport *export, GError **error)
{
	unsigned n = build->connections;

	for (unsigned i = 0; i < n; i++) {
		int fd = deposited_socket(build, disk->number * n + i, error);

		if (fd < 0 || !nbd_export_connect_take(
				      export, fd, context_of(disk, i), error))
			return false;
	}
	return true;
}

/* QEMU has one errno for what a filter does not let be read.  One that is
 * limited refuses what became dirty after it was made, in a pause. */
static bool explain_refusal(const BuildDisk *disk, GError **error)
{
	if (!error || !g_error_matches(*error, FLEECE_ERROR, EINVAL))
		return false;
	g_clear_error(error);
	if (disk->part->limited)
		fleece_set_error(error, EAGAIN, "something else than the "
			"guest (a block job, an NBD client?) wrote to it while "
			"the guest was stopped: try again, or without "
			"view=delta");
	else
		fleece_set_error(error, ESTALE, "QEMU gave the snapshot up "
			"before it could be read: scratch space was full, or "
			"slower than cbw_timeout");
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
	*allocation = nbd_export_read_allocation(
		export, disk->part->limited ? *dirty : NULL, error);
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
		.room = REPLIES_MAX,
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
	undo_list_drop(build->request->undo, build->directory_undo);
}

bool fleece_export(FleeceBuild *build, GError **error)
{
	if (!fleece_build_each(build, hold_size, error) ||
		!fleece_build_each(build, add_export, error) ||
		!fleece_build_each(build, attach_view, error))
		return false;
	remove_directory(build);
	g_free(build->owner->state);
	build->owner->state = g_strdup("live");
	return owner_renew(build->client, build->owner, error);
}
