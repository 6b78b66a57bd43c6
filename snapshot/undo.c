/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undo.h"

#include <errno.h>
#include <string.h>

#include "domain-host.h"
#include "domain-undo.h"
#include "fleece-error.h"
#include "guest-agent.h"
#include "listener.h"
#include "owner.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-graph.h"
#include "qmp-job.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "qmp-transaction.h"
#include "scratch-probe.h"

#define RUN_ATTEMPTS 3
/* How long an agent is waited for in the midst of a list. */
#define THAW_MS 5000
#define THAW_RETRY_MS 100
/* How long scratch is waited for while the monitor is held. */
#define SCRATCH_MS 1000
/* How long an answer of its counts. */
#define ANSWER_US (500 * G_TIME_SPAN_MILLISECOND)
/* What is in the last pass has QEMU wait for its disks. */
#define LAST_PASS 2

struct UndoList {
	char *vm;
	UndoMirror mirror;
	GPtrArray *undos; /* Undo, oldest first */
	unsigned last_id;
	gint64 answered; /* when scratch did, monotonic us */
};

static void undo_free(Undo *undo)
{
	g_free(undo->a);
	g_free(undo->b);
	g_free(undo->c);
	g_free(undo);
}

UndoList *undo_list_new(const char *vm, const UndoMirror *mirror)
{
	UndoList *list = g_new0(UndoList, 1);

	list->vm = g_strdup(vm);
	if (mirror)
		list->mirror = *mirror;
	list->undos = g_ptr_array_new_with_free_func(
		(GDestroyNotify)undo_free);
	return list;
}

void undo_list_free(UndoList *list)
{
	if (!list)
		return;
	g_free(list->vm);
	g_ptr_array_unref(list->undos);
	g_free(list);
}

static char *text(const char *from)
{
	return g_strdup(from ? from : "");
}

bool undo_list_add(UndoList *list, enum undo_kind kind, const char *a,
	const char *b, const char *c, unsigned *id, GError **error)
{
	Undo *undo = g_new0(Undo, 1);

	undo->id = ++list->last_id;
	undo->kind = kind;
	undo->a = text(a);
	undo->b = text(b);
	undo->c = text(c);
	if (list->mirror.added &&
	    !list->mirror.added(list->mirror.opaque, undo, error)) {
		undo_free(undo);
		return false;
	}
	g_ptr_array_add(list->undos, undo);
	if (id)
		*id = undo->id;
	return true;
}

void undo_list_drop(UndoList *list, unsigned id)
{
	for (guint i = 0; i < list->undos->len; i++) {
		const Undo *undo = list->undos->pdata[i];

		if (undo->id != id)
			continue;
		if (list->mirror.dropped)
			list->mirror.dropped(list->mirror.opaque, id);
		g_ptr_array_remove_index(list->undos, i);
		return;
	}
}

size_t undo_list_length(const UndoList *list)
{
	return list->undos->len;
}

bool undo_list_has(const UndoList *list, enum undo_kind kind)
{
	for (guint i = 0; i < list->undos->len; i++) {
		const Undo *undo = list->undos->pdata[i];

		if (undo->kind == kind)
			return true;
	}
	return false;
}

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

static const QmpNode *find_node(GPtrArray *nodes, const char *name)
{
	for (guint i = 0; i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (g_str_equal(node->node, name))
			return node;
	}
	return NULL;
}

static bool node_exists(QmpClient *client, const char *name, bool *exists,
	GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	*exists = nodes && find_node(nodes, name);
	return nodes != NULL;
}

/* blockdev-del has one error class for "no such node" and "in use". */
static bool undo_node(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GError) refusal = NULL;
	bool exists;

	if (qmp_blockdev_del(client, undo->a, &refusal))
		return true;
	if (qmp_error_is_refusal(refusal)) {
		if (!node_exists(client, undo->a, &exists, error))
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

/* An export holds on to the bitmap, but not to the node that the bitmap is
 * on: deleting that aborts QEMU ("!bdrv_dirty_bitmap_busy(bitmap)"). */
static bool undo_scratch(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);
	const QmpNode *node = nodes ? find_node(nodes, undo->a) : NULL;

	if (!node)
		return nodes;
	if (is_in_use(node)) {
		fleece_set_error(error, EBUSY, "blockdev-del: node %s has a "
			"bitmap that is still exported", undo->a);
		return false;
	}
	return undo_node(client, undo, error);
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
		return true;
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

static const QmpBitmap *find_bitmap(const QmpNode *node, const char *name)
{
	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];

		if (g_str_equal(bitmap->name, name))
			return bitmap;
	}
	return NULL;
}

/* It is gone where it was committed.  On a node that an external snapshot has
 * made a lower layer it has to stay: whoever finds it later drops it. */
static bool undo_bitmap(QmpClient *client, const Undo *undo, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);
	const QmpNode *node = nodes ? find_node(nodes, undo->a) : NULL;

	if (!node || node->read_only || !find_bitmap(node, undo->b))
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
		return undo_node(client, undo, error);
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
	case UNDO_BITMAP:
		return undo_bitmap(client, undo, error);
	case UNDO_THAW:
		return guest_agent_thaw_at(undo->a, THAW_MS, &(uint64_t){ 0 },
			error);
	default: /* of a domain: domain-undo.c */
		break;
	}
	g_assert_not_reached();
}

/* The owner's note goes last and only when nothing else of ours is left: it
 * is what a later recovery needs. */
static bool is_too_early(const UndoList *list, const Undo *undo)
{
	return undo->kind == UNDO_OWNER && list->undos->len > 1;
}

/* Whether the failure means that the monitor's connection is of no more use.
 * An agent's is another one. */
static bool connection_is_lost(const Undo *undo, const GError *failure)
{
	return undo->kind != UNDO_THAW && failure->domain == FLEECE_ERROR &&
		failure->code != EBUSY && failure->code != EPROTO;
}

static bool undo_over_qmp(void *opaque, const Undo *undo, bool *lost,
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

/* Undoes one.  Returns false only where the connection is of no more use;
 * a refusal is kept in *first and the undo stays in the list. */
static bool run_one(UndoList *list, guint index, UndoOne *one, void *opaque,
	GError **first, GError **error)
{
	const Undo *undo = list->undos->pdata[index];
	g_autoptr(GError) failure = NULL;
	bool lost = false;

	if (one(opaque, undo, &lost, &failure)) {
		undo_list_drop(list, undo->id);
		return true;
	}
	g_prefix_error(&failure, "VM %s: undo: ", list->vm);
	if (lost) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!*first)
		*first = g_steal_pointer(&failure);
	return true;
}

/* The guest comes first: it has to run to be thawed. */
static int pass_of(const Undo *undo)
{
	if (undo->kind == UNDO_STOP || undo->kind == UNDO_SUSPEND)
		return 0;
	if (undo->kind == UNDO_THAW || undo->kind == UNDO_FREEZE)
		return 1;
	return LAST_PASS;
}

static const char *session_of(const UndoList *list)
{
	for (guint i = 0; i < list->undos->len; i++) {
		const Undo *undo = list->undos->pdata[i];

		if (undo->kind == UNDO_OWNER)
			return undo->a;
	}
	return NULL;
}

static void drop_all(UndoList *list, enum undo_kind kind)
{
	for (guint i = list->undos->len; i > 0; i--) {
		const Undo *undo = list->undos->pdata[i - 1];

		if (undo->kind == kind)
			undo_list_drop(list, undo->id);
	}
}

/*
 * A guest that stands still and an NBD server bear no name.  Where our note
 * is not there any more, somebody has undone all that was ours, and they are
 * an administrator's, or another fleecefs's.
 */
static void forget_if_recovered(UndoList *list, QmpClient *client)
{
	const char *session = session_of(list);
	g_autoptr(GError) failure = NULL;
	g_autoptr(Owner) owner = NULL;

	if (!session || (!undo_list_has(list, UNDO_STOP) &&
				!undo_list_has(list, UNDO_SERVER)))
		return;
	owner = owner_read(client, &failure);
	if (failure || (owner && g_str_equal(owner->session, session)))
		return;
	drop_all(list, UNDO_STOP);
	drop_all(list, UNDO_SERVER);
}

bool undo_list_wait_scratch(UndoList *list, unsigned limit_ms, GError **error)
{
	const char *before = "";

	if (list->answered && g_get_monotonic_time() - list->answered <
			ANSWER_US)
		return true;
	for (guint i = 0; i < list->undos->len; i++) {
		const Undo *undo = list->undos->pdata[i];

		if (undo->kind != UNDO_SCRATCH || !undo->b[0] ||
		    g_str_equal(undo->b, before))
			continue;
		before = undo->b;
		if (!scratch_check_answers(before, limit_ms, error)) {
			g_prefix_error(error, "VM %s: undo: ", list->vm);
			return false;
		}
		list->answered = g_get_monotonic_time();
	}
	return true;
}

bool undo_list_keeps_guest(const UndoList *list)
{
	return undo_list_has(list, UNDO_STOP) ||
		undo_list_has(list, UNDO_THAW);
}

bool undo_list_run_with(UndoList *list, UndoOne *one, void *opaque,
	GError **error)
{
	g_autoptr(GError) first = NULL;

	for (int pass = 0; pass <= LAST_PASS; pass++) {
		if (pass == LAST_PASS &&
		    !undo_list_wait_scratch(list, SCRATCH_MS, error))
			return false;
		for (guint i = list->undos->len; i > 0; i--) {
			const Undo *undo = list->undos->pdata[i - 1];

			if (pass_of(undo) != pass || is_too_early(list, undo))
				continue;
			if (!run_one(list, i - 1, one, opaque, &first,
				    error))
				return false;
		}
	}
	if (first) {
		g_propagate_error(error, g_steal_pointer(&first));
		return false;
	}
	return true;
}

bool undo_list_run(UndoList *list, QmpClient *client, GError **error)
{
	forget_if_recovered(list, client);
	return undo_list_run_with(list, undo_over_qmp, client, error);
}

static int64_t in_ms(unsigned ms)
{
	return g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
}

static bool thaw_once(UndoList *list, int64_t ends, GError **error)
{
	for (guint i = list->undos->len; i > 0; i--) {
		const Undo *undo = list->undos->pdata[i - 1];
		int64_t left_us = ends - g_get_monotonic_time();
		uint64_t count;

		if (undo->kind != UNDO_THAW)
			continue;
		if (!guest_agent_thaw_at(undo->a, MAX(left_us / 1000, 1),
			    &count, error))
			return false;
		undo_list_drop(list, undo->id);
	}
	return true;
}

bool undo_list_thaw(UndoList *list, unsigned limit_ms, GError **error)
{
	int64_t ends = in_ms(limit_ms);

	for (;;) {
		g_autoptr(GError) failure = NULL;

		if (thaw_once(list, ends, &failure))
			return true;
		if (g_get_monotonic_time() >= ends) {
			g_propagate_prefixed_error(error,
				g_steal_pointer(&failure), "VM %s: undo: ",
				list->vm);
			return false;
		}
		g_usleep(THAW_RETRY_MS * 1000);
	}
}

static bool qemu_is_gone(const GError *error)
{
	return g_error_matches(error, FLEECE_ERROR, ENOENT) ||
		g_error_matches(error, FLEECE_ERROR, ECONNREFUSED);
}

/* What is left outside of a QEMU that is gone. */
static void run_without_qemu(UndoList *list)
{
	while (list->undos->len) {
		const Undo *undo = list->undos->pdata[list->undos->len - 1];

		if (undo->kind == UNDO_DIRECTORY)
			listener_remove_directory(undo->a);
		undo_list_drop(list, undo->id);
	}
}

/* Thaws what can be thawed before the monitor has answered, if it does at
 * all: a guest that stands still cannot. */
static void thaw_ahead(UndoList *list)
{
	g_autoptr(GError) failure = NULL;

	if (!undo_list_has(list, UNDO_STOP) &&
	    !thaw_once(list, in_ms(THAW_MS), &failure))
		g_warning("VM %s: undo: %s", list->vm, failure->message);
}

static bool run_over_qmp(UndoList *list, const char *qmp, unsigned timeout_ms,
	GError **error)
{
	for (int attempt = 1; list->undos->len; attempt++) {
		g_autoptr(GError) failure = NULL;
		g_autoptr(QmpClient) client = NULL;

		thaw_ahead(list);
		/* others may want the monitor meanwhile */
		if (!undo_list_keeps_guest(list) &&
		    !undo_list_wait_scratch(list, SCRATCH_MS, error))
			return false;
		client = qmp_client_connect(qmp, timeout_ms, &failure);
		if (!client && qemu_is_gone(failure)) {
			run_without_qemu(list);
			return true;
		}
		if (client && undo_list_run(list, client, &failure))
			return true;
		if (attempt == RUN_ATTEMPTS ||
		    g_error_matches(failure, FLEECE_ERROR, ETIMEDOUT)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
	}
	return true;
}

bool undo_list_run_at(UndoList *list, const char *qmp, unsigned timeout_ms,
	GError **error)
{
	return domain_is_uri(qmp) ?
		domain_undo_run_at(list, qmp, timeout_ms, error) :
		run_over_qmp(list, qmp, timeout_ms, error);
}
