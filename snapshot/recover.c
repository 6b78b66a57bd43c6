/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recover.h"

#include <errno.h>

#include "checkpoint.h"
#include "fleece-error.h"
#include "owner.h"
#include "qmp-query.h"
#include "undo.h"

/* Ours carry the session in their names; an administrator's never do. */
static bool is_ours(const char *name, const Owner *owner)
{
	g_autofree char *prefix = g_strdup_printf(FLEECE_PREFIX "%s-",
		owner->session);

	return g_str_has_prefix(name, prefix);
}

/* Our nodes of one driver: below comes before above in the list, as if it
 * had been made by a set-up. */
static bool add_nodes(UndoList *list, GPtrArray *nodes, const Owner *owner,
	const char *driver, enum undo_kind kind)
{
	for (guint i = 0; i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (!is_ours(node->node, owner) ||
		    !g_str_equal(node->driver, driver))
			continue;
		if (!undo_list_add(list, kind == UNDO_FILTER ? UNDO_NODE :
			    kind, node->node, NULL, NULL, NULL, NULL))
			return false;
		if (kind == UNDO_FILTER &&
		    !undo_list_add(list, UNDO_FILTER, node->node, NULL, NULL,
			    NULL, NULL))
			return false;
	}
	return true;
}

/* What tells of an access is the scratch that it needs: that comes before it
 * and goes after it, and the file in it bears our name. */
static bool add_backup_access(UndoList *list, GPtrArray *nodes,
	const Owner *owner)
{
	g_autofree char *target = g_strconcat(FLEECE_TARGET_PREFIX,
		owner->session, NULL);
	size_t before = undo_list_length(list);

	return add_nodes(list, nodes, owner, "file", UNDO_SCRATCH) &&
		(undo_list_length(list) == before ||
			undo_list_add(list, UNDO_ACCESS, target, NULL, NULL,
				NULL, NULL));
}

static bool list_nodes(UndoList *list, QmpClient *client, const Owner *owner,
	GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	return nodes && add_nodes(list, nodes, owner, "raw", UNDO_SCRATCH) &&
		add_backup_access(list, nodes, owner) &&
		add_nodes(list, nodes, owner, "copy-before-write", UNDO_FILTER);
}

static bool list_jobs(UndoList *list, QmpClient *client, const Owner *owner,
	GError **error)
{
	g_autoptr(GPtrArray) jobs = qmp_query_jobs(client, error);

	for (guint i = 0; jobs && i < jobs->len; i++) {
		const QmpJob *job = jobs->pdata[i];

		if (is_ours(job->id, owner))
			undo_list_add(list, UNDO_JOB, job->id, NULL, NULL,
				NULL, NULL);
	}
	return jobs != NULL;
}

static bool list_access(UndoList *list, QmpClient *client, const Owner *owner,
	GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	return nodes && add_nodes(list, nodes, owner, "snapshot-access",
		UNDO_NODE);
}

static bool list_exports(UndoList *list, QmpClient *client, const Owner *owner,
	GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, error);

	for (guint i = 0; exports && i < exports->len; i++) {
		const QmpBlockExport *export = exports->pdata[i];

		if (is_ours(export->id, owner))
			undo_list_add(list, UNDO_EXPORT, export->id, NULL,
				NULL, NULL, NULL);
	}
	return exports != NULL;
}

/* Every chain's: what is pending has no other owner than the dead one. */
static void add_pending(UndoList *list, const QmpNode *node)
{
	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];
		g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(
			bitmap->name);

		if (checkpoint && checkpoint->pending)
			undo_list_add(list, UNDO_BITMAP, node->node,
				bitmap->name, NULL, NULL, NULL);
	}
}

static bool list_pending(UndoList *list, QmpClient *client, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	for (guint i = 0; nodes && i < nodes->len; i++)
		add_pending(list, nodes->pdata[i]);
	return nodes;
}

static void list_deposits(UndoList *list, const Owner *owner)
{
	for (unsigned i = 0; i < owner->fds; i++) {
		g_autofree char *name = g_strdup_printf(FLEECE_PREFIX "%s-n%u",
			owner->session, i);

		undo_list_add(list, UNDO_MONITOR_FD, name, NULL, NULL, NULL,
			NULL);
	}
}

/* libvirt's agent is found only where libvirt is. */
static void add_thaw(UndoList *list, const Owner *owner,
	const Monitor *monitor)
{
	bool lent = g_str_equal(owner->agent, OWNER_LIBVIRT_AGENT) &&
		monitor->uuid;

	undo_list_add(list, UNDO_THAW, lent ? monitor->at : owner->agent,
		lent ? monitor->uuid : NULL, NULL, NULL, NULL);
}

/* The list that a set-up by owner would have made, as far as it got. */
static UndoList *list_leftovers(QmpClient *client, const Monitor *monitor,
	const char *vm, const Owner *owner, GError **error)
{
	g_autoptr(UndoList) list = undo_list_new(vm, NULL);
	g_autofree char *note = g_strdup_printf("fleecefs:%s:",
		owner->session);

	undo_list_add(list, UNDO_OWNER, owner->session, NULL, NULL, NULL, NULL);
	undo_list_add_directories(list, owner->session);
	undo_list_add(list, UNDO_FDSET, note, NULL, NULL, NULL, NULL);
	if (owner->server)
		undo_list_add(list, UNDO_SERVER, NULL, NULL, NULL, NULL, NULL);
	if (!list_pending(list, client, error) ||
	    !list_nodes(list, client, owner, error) ||
	    !list_jobs(list, client, owner, error) ||
	    !list_access(list, client, owner, error))
		return NULL;
	list_deposits(list, owner);
	if (!list_exports(list, client, owner, error))
		return NULL;
	if (owner->agent)
		add_thaw(list, owner, monitor);
	if (g_str_equal(owner->state, "stopped"))
		undo_list_add(list, UNDO_STOP, NULL, NULL, NULL, NULL, NULL);
	return g_steal_pointer(&list);
}

static bool undo_leftovers(QmpClient *client, const Monitor *monitor,
	const char *vm, const Owner *owner, GError **error)
{
	g_autoptr(UndoList) list = NULL;

	g_warning("VM %s: undoing what a %s fleecefs (pid %d) left in QEMU",
		vm, owner_is_alive(owner) ? "living" : "dead", owner->pid);
	list = list_leftovers(client, monitor, vm, owner, error);
	return list && undo_list_run(list, client, error);
}

bool recover(QmpClient *client, const Monitor *monitor, const char *vm,
	bool *teardown, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(Owner) owner = owner_read(client, &failure);

	*teardown = false;
	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!owner)
		return true;
	if (owner_is_alive(owner)) {
		*teardown = g_str_equal(owner->state, "teardown");
		fleece_set_error(error, EBUSY,
			"fleecefs with pid %d has a snapshot of it (%s)",
			owner->pid, owner->state);
		return false;
	}
	return undo_leftovers(client, monitor, vm, owner, error);
}

bool recover_by_force(QmpClient *client, const Monitor *monitor,
	const char *vm, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(Owner) owner = owner_read(client, &failure);

	if (owner)
		return undo_leftovers(client, monitor, vm, owner, error);
	if (!failure)
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}
