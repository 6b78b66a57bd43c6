/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undo-qmp.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "fleece-error.h"
#include "listener.h"
#include "owner.h"
#include "qmp-access.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-graph.h"
#include "qmp-job.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "qmp-transaction.h"

/* Whether the error only says that what we want to remove is not there. */
static bool already_gone(GError **error)
{
	if (!g_error_matches(*error, FLEECE_ERROR, ENOENT) &&
	    !g_error_matches(*error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND) &&
	    !g_error_matches(*error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_ACTIVE))
		return false;
	g_clear_error(error);
	return true;
}

static bool node_exists(QmpClient *client, const char *name, bool *exists,
	GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	*exists = nodes && qmp_node_find(nodes, name);
	return nodes != NULL;
}

/* blockdev-del has one error class for "no such node" and "in use". */
static bool remove_node(QmpClient *client, const char *name, GError **error)
{
	g_autoptr(GError) refusal = NULL;
	bool exists;

	if (qmp_blockdev_del(client, name, &refusal))
		return true;
	if (qmp_error_is_refusal(refusal)) {
		if (!node_exists(client, name, &exists, error))
			return false;
		if (!exists)
			return true;
	}
	g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

static bool is_in_use(const QmpNode *node)
{
	bool busy = false;

	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];

		busy |= bitmap->busy;
	}
	return busy;
}

/* The raw node above the file node of that name; the node of that name, where
 * it is no file.  Both are called after the file: the number of the fd set in
 * it is nobody else's as long as that is open. */
static const QmpNode *scratch_node(const GPtrArray *nodes, const char *name)
{
	const QmpNode *below = qmp_node_find(nodes, name);

	if (!below || !below->file || !g_str_equal(below->driver, "file"))
		return below;
	for (guint i = 0; i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (g_str_equal(node->driver, "raw") &&
		    g_strcmp0(node->file, below->file) == 0)
			return node;
	}
	return below;
}

/* An export holds on to the bitmap, but not to the node that the bitmap is
 * on: deleting that aborts QEMU ("!bdrv_dirty_bitmap_busy(bitmap)"). */
static bool undo_scratch(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);
	const QmpNode *node = nodes ? scratch_node(nodes, undo->a) : NULL;

	if (!node)
		return nodes;
	if (is_in_use(node)) {
		fleece_set_error(error, EBUSY, "blockdev-del: node %s has a "
			"bitmap that is still exported", node->node);
		return false;
	}
	return remove_node(client, node->node, error);
}

/* Of one target there is one access at a time, and nobody else has ours:
 * where QEMU knows of another's, ours is gone, or was never there. */
static bool undo_access(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GError) refusal = NULL;

	if (qmp_access_tear_down(client, undo->a, &refusal))
		return true;
	/* one error class for everything: only these words mean that */
	if (qmp_error_is_refusal(refusal) &&
	    strstr(refusal->message, "got target"))
		return true;
	g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

/* The device that has node as its root now; NULL where none has. */
static char *device_over(GPtrArray *blocks, const char *node)
{
	for (guint i = 0; i < blocks->len; i++) {
		const QmpBlock *block = blocks->pdata[i];

		if (block->inserted && block->qdev &&
		    g_str_equal(block->node, node))
			return g_strdup(block->qdev);
	}
	return NULL;
}

/* A block job that was begun on the filter has its own above it, and that is
 * what the device has: ours can only be taken out when the job has ended. */
static bool check_uncovered(QmpClient *client, const char *filter,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(QmpGraph) graph = qmp_query_graph(client, &failure);
	const char *above = graph ? qmp_graph_parent(graph, filter) : NULL;

	if (above)
		fleece_set_error(error, EBUSY, "qom-set: node %s stands over "
			"node %s: a block job of others, that has to end "
			"first", above, filter);
	else if (failure && !qmp_error_is_refusal(failure))
		g_propagate_error(error, g_steal_pointer(&failure));
	else
		return true;
	return false;
}

/* The disk below the filter is another node than it was where somebody took
 * an external snapshot meanwhile. */
static bool undo_filter(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GPtrArray) blocks = qmp_query_block(client, error);
	g_autoptr(GError) unknown = NULL;
	g_autofree char *device = NULL;
	g_autofree char *child = NULL;

	if (!blocks)
		return false;
	device = device_over(blocks, undo->a);
	if (!device)
		return check_uncovered(client, undo->a, error);
	child = qmp_query_file_child(client, undo->a, &unknown);
	if (!child && !undo->c[0]) {
		/* the filter is not "already gone" */
		if (g_error_matches(unknown, FLEECE_ERROR, ENOENT))
			unknown->code = EPROTO;
		g_propagate_error(error, g_steal_pointer(&unknown));
		return false;
	}
	return qmp_qom_set_drive(client, device, child ? child : undo->c,
		error);
}

static bool undo_server(QmpClient *client, GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, error);

	if (!exports)
		return false;
	for (guint i = 0; i < exports->len; i++) {
		const QmpBlockExport *export = exports->pdata[i];

		if (g_str_equal(export->type, "nbd")) {
			fleece_set_error(error, EBUSY,
				"nbd-server-stop: left running, export %s "
				"still uses it", export->id);
			return false;
		}
	}
	if (qmp_nbd_server_stop(client, error))
		return true;
	/* one error class for everything: only these words mean success */
	if (!qmp_error_is_refusal(*error) ||
	    !strstr((*error)->message, "not running"))
		return false;
	g_clear_error(error);
	return true;
}

/* It is gone where it was committed.  On a node that an external snapshot has
 * made a lower layer it has to stay: whoever finds it later drops it. */
static bool undo_bitmap(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);
	const QmpNode *node = nodes ? qmp_node_find(nodes, undo->a) : NULL;

	if (!node || node->read_only || !qmp_node_bitmap(node, undo->b))
		return nodes;
	return qmp_bitmap_remove(client, undo->a, undo->b, error);
}

/* Somebody else's note stays: ours may never have got in. */
static bool undo_owner(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(Owner) owner = owner_read(client, &failure);

	if (failure && !g_error_matches(failure, FLEECE_ERROR, EBADMSG)) {
		/* who is refused an answer does not know that it is gone */
		if (g_error_matches(failure, QMP_ERROR,
			    QMP_ERROR_DEVICE_NOT_FOUND))
			fleece_set_error(error, EPROTO, "%s",
				failure->message);
		else
			g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!owner || !g_str_equal(owner->session, undo->a))
		return true;
	return qmp_object_del(client, OWNER_ID, error);
}

static bool thaw(const Undo *undo, GError **error)
{
	const Monitor agent = undo_agent(undo);
	uint64_t count;

	return agent_thaw_at(&agent, UNDO_THAW_MS, &count, error);
}

static bool undo_one(QmpClient *client, const Undo *undo, GError **error)
{
	switch (undo->kind) {
	case UNDO_OWNER:
		return undo_owner(client, undo, error);
	case UNDO_DIRECTORY:
		listener_remove_directory(undo->a);
		return true;
	case UNDO_FDSET:
		return qmp_remove_fds_noted(client, undo->a, error);
	case UNDO_NODE:
		return remove_node(client, undo->a, error);
	case UNDO_FILTER:
		return undo_filter(client, undo, error);
	case UNDO_JOB:
		return qmp_job_cancel(client, undo->a, error);
	case UNDO_SERVER:
		return undo_server(client, error);
	case UNDO_MONITOR_FD:
		return qmp_closefd(client, undo->a, error);
	case UNDO_EXPORT:
		return qmp_block_export_del(client, undo->a, error);
	case UNDO_STOP:
		return qmp_cont(client, error);
	case UNDO_SCRATCH:
		return undo_scratch(client, undo, error);
	case UNDO_ACCESS:
		return undo_access(client, undo, error);
	case UNDO_BITMAP:
		return undo_bitmap(client, undo, error);
	case UNDO_THAW:
		return thaw(undo, error);
	default: /* of a domain: domain-undo.c */
		break;
	}
	g_assert_not_reached();
}

/* Whether the failure means that the monitor's connection is of no more use.
 * An agent's is another one. */
static bool connection_is_lost(const Undo *undo, const GError *failure)
{
	return undo->kind != UNDO_THAW && failure->domain == FLEECE_ERROR &&
		failure->code != EBUSY && failure->code != EPROTO;
}

bool undo_qmp(void *opaque, const Undo *undo, bool *lost,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (undo_one(opaque, undo, &failure) ||
	    (undo->kind != UNDO_THAW && already_gone(&failure)))
		return true;
	*lost = connection_is_lost(undo, failure);
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}
