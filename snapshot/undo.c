/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undo.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "domain-undo.h"
#include "fleece-error.h"
#include "listener.h"
#include "owner.h"
#include "scratch-probe.h"
#include "undo-qmp.h"

#define RUN_ATTEMPTS 3
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

Monitor undo_agent(const Undo *undo)
{
	return (Monitor){ undo->a, undo->b[0] ? undo->b : NULL };
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

void undo_list_add_directories(UndoList *list, const char *session)
{
	g_auto(GStrv) paths = listener_directories(session);

	for (char **path = paths; *path; path++)
		undo_list_add(list, UNDO_DIRECTORY, *path, NULL, NULL, NULL,
			NULL);
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

/*
 * The owner's note goes last and only when nothing else of ours is left: it
 * is what a later recovery needs.  A backup job that libvirt may still begin,
 * once QEMU answers again, keeps the place of its socket: libvirtd 9.0 can
 * crash when a begin fails (it takes its scratch out beside other jobs).
 */
static bool is_too_early(const UndoList *list, const Undo *undo)
{
	switch (undo->kind) {
	case UNDO_OWNER:
		return list->undos->len > 1;
	case UNDO_DIRECTORY:
	case UNDO_FILE:
		return undo_list_has(list, UNDO_BACKUP);
	default:
		return false;
	}
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
	return undo_list_run_with(list, undo_qmp, client, error);
}

static int64_t in_ms(unsigned ms)
{
	return g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
}

static bool thaw_once(UndoList *list, int64_t ends, GError **error)
{
	for (guint i = list->undos->len; i > 0; i--) {
		const Undo *undo = list->undos->pdata[i - 1];
		const Monitor agent = undo_agent(undo);
		int64_t left_us = ends - g_get_monotonic_time();
		uint64_t count;

		if (undo->kind != UNDO_THAW)
			continue;
		if (!agent_thaw_at(&agent, MAX(left_us / 1000, 1),
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
	    !thaw_once(list, in_ms(UNDO_THAW_MS), &failure))
		g_warning("VM %s: undo: %s", list->vm, failure->message);
}

static bool run_over_qmp(UndoList *list, const Monitor *monitor,
	unsigned timeout_ms, GError **error)
{
	for (int attempt = 1; list->undos->len; attempt++) {
		g_autoptr(GError) failure = NULL;
		g_autoptr(QmpClient) client = NULL;

		thaw_ahead(list);
		/* others may want the monitor meanwhile */
		if (!undo_list_keeps_guest(list) &&
		    !undo_list_wait_scratch(list, SCRATCH_MS, error))
			return false;
		client = monitor_connect(monitor, timeout_ms, &failure);
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

bool undo_list_run_at(UndoList *list, const Monitor *monitor,
	unsigned timeout_ms, GError **error)
{
	return monitor_speaks_qmp(monitor) ?
		run_over_qmp(list, monitor, timeout_ms, error) :
		domain_undo_run_at(list, monitor->at, timeout_ms, error);
}
