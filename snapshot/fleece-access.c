/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instant by backup-access-setup, the way of Proxmox VE's own backups.
 *
 * QEMU makes filter and snapshot-access, and nobody but it can remove them:
 * backup-access-teardown does, or its end.  What it wants beforehand is a
 * scratch node with a name that it derives from the disk's.
 */
#include "fleece-build.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-access.h"
#include "qmp-error.h"

/* QEMU's limit for a node's name. */
#define NODE_NAME_MAX 31

/* What QEMU finds the disk by: with -blockdev there is but the node. */
static const char *device_of(const BuildDisk *disk)
{
	return disk->disk->drive[0] ? disk->disk->drive : disk->disk->node;
}

static bool name_scratch(BuildDisk *disk, GError **error)
{
	g_assert(!disk->scratch_file);
	disk->scratch_file = disk->scratch;
	disk->scratch = g_strconcat(device_of(disk), QMP_ACCESS_SUFFIX, NULL);
	if (strlen(disk->scratch) <= NODE_NAME_MAX)
		return true;
	fleece_set_error(error, EOPNOTSUPP, "method=access needs a node %s, "
		"and that is longer than a node's name can be: use "
		"method=filter", disk->scratch);
	return false;
}

/* Whose it is does not matter: it is not to be taken for ours. */
static bool check_name(const GPtrArray *nodes, const BuildDisk *disk,
	GError **error)
{
	if (!qmp_node_find(nodes, disk->scratch))
		return true;
	fleece_set_error(error, EBUSY, "there is a node %s: a backup of "
		"Proxmox VE is running, or was not cleaned up", disk->scratch);
	return false;
}

static bool name_all(FleeceBuild *build, const GPtrArray *nodes,
	GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];

		if (disk->disk->read_only)
			continue;
		if (!name_scratch(disk, error) ||
		    !check_name(nodes, disk, error)) {
			g_prefix_error(error, "disk %s: ", disk->disk->id);
			return false;
		}
	}
	return true;
}

static unsigned count_written(const FleeceBuild *build)
{
	unsigned n = 0;

	for (guint i = 0; i < build->found->len; i++) {
		const Disk *disk = build->found->pdata[i];

		n += !disk->read_only;
	}
	return n;
}

bool fleece_access_plan(FleeceBuild *build, GError **error)
{
	QemuPlan *plan = &build->fleece->plan;
	g_autoptr(GPtrArray) nodes = NULL;

	if (plan->method != METHOD_ACCESS)
		return true;
	if (!quirks_access(build->request->settings, plan,
		    count_written(build), error))
		return false;
	nodes = qmp_query_named_block_nodes(build->client, error);
	return nodes && name_all(build, nodes, error);
}

/* --- the instant --- */

/* BuildDisks that have one above them. */
static GPtrArray *written(const FleeceBuild *build)
{
	GPtrArray *disks = g_ptr_array_new();

	for (guint i = 0; i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];

		if (disk->scratch_fd >= 0)
			g_ptr_array_add(disks, disk);
	}
	return disks;
}

/* "previous backup for target '%s' not finished": QEMU has no class for it. */
static bool is_other_backup(const GError *error)
{
	return qmp_error_is_refusal(error) &&
		strstr(error->message, "not finished");
}

/* A refusal that names another target has left nothing of ours. */
static bool explain_refusal(FleeceBuild *build, unsigned undo, GError *failure,
	GError **error)
{
	if (!is_other_backup(failure)) {
		g_propagate_error(error, failure);
		return false;
	}
	undo_list_drop(build->request->undo, undo);
	fleece_set_error(error, EBUSY, "Proxmox VE, or somebody else, is "
		"backing it up: wait until that has ended (%s)",
		failure->message);
	g_error_free(failure);
	return false;
}

static bool take(BuildDisk *disk, const QmpAccess *access, GError **error)
{
	if (access->size != disk->disk->size) {
		fleece_set_error(error, EPROTO, "disk %s: backup-access-setup: "
			"it has %" G_GUINT64_FORMAT " bytes there, and %"
			G_GUINT64_FORMAT " for query-block", disk->disk->id,
			access->size, disk->disk->size);
		return false;
	}
	g_free(disk->access);
	disk->access = g_strdup(access->node);
	return true;
}

static bool take_all(GPtrArray *disks, const GPtrArray *accesses,
	GError **error)
{
	for (guint i = 0; i < disks->len; i++) {
		if (!take(disks->pdata[i], accesses->pdata[i], error))
			return false;
	}
	return true;
}

static bool set_up(FleeceBuild *build, GPtrArray *disks, GError **error)
{
	g_autofree char *target = g_strconcat(FLEECE_TARGET_PREFIX,
		build->owner->session, NULL);
	g_autofree const char **devices = g_new0(const char *, disks->len + 1);
	g_autoptr(GPtrArray) accesses = NULL;
	GError *failure = NULL;
	unsigned undo;

	for (guint i = 0; i < disks->len; i++)
		devices[i] = device_of(disks->pdata[i]);
	if (!undo_list_add(build->request->undo, UNDO_ACCESS, target, NULL,
		    NULL, &undo, error))
		return false;
	accesses = qmp_access_set_up(build->client, target, devices, &failure);
	if (!accesses)
		return explain_refusal(build, undo, failure, error);
	return take_all(disks, accesses, error);
}

bool fleece_access_set_up(FleeceBuild *build, GError **error)
{
	g_autoptr(GPtrArray) disks = written(build);

	return disks->len == 0 || set_up(build, disks, error);
}
