/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-fd.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"

bool qmp_add_fd(QmpClient *client, int fd, const char *opaque,
	int64_t *fdset_id, GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, "add-fd",
		qmp_strings("opaque", opaque, NULL), fd, error);
	uint64_t id;

	if (!reply || !qmp_reply_size("add-fd", reply, "fdset-id", &id, error))
		return false;
	*fdset_id = (int64_t)id;
	return true;
}

bool qmp_remove_fd(QmpClient *client, int64_t fdset_id, GError **error)
{
	json_object *arguments = json_object_new_object();

	json_object_object_add(arguments, "fdset-id",
		json_object_new_int64(fdset_id));
	return qmp_execute_void(client, "remove-fd", arguments, error);
}

/* An entry of query-fdsets. */
typedef struct {
	uint64_t id;
	GPtrArray *notes;
} FdSet;

static void fdset_free(FdSet *set)
{
	if (set->notes)
		g_ptr_array_unref(set->notes);
	g_free(set);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FdSet, fdset_free)

static gpointer parse_note(const char *command, json_object *element,
	GError **error)
{
	json_object *opaque;

	if (!qmp_reply_optional(command, element, "opaque", json_type_string,
		    &opaque, error))
		return NULL;
	return g_strdup(opaque ? json_object_get_string(opaque) : "");
}

static gpointer parse_fdset(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(FdSet) set = g_new0(FdSet, 1);
	json_object *fds;

	if (!qmp_reply_size(command, element, "fdset-id", &set->id, error))
		return NULL;
	fds = qmp_reply_member(command, element, "fds", json_type_array,
		error);
	if (!fds)
		return NULL;
	set->notes = qmp_reply_list(command, fds, parse_note, g_free, error);
	return set->notes ? g_steal_pointer(&set) : NULL;
}

static GPtrArray *query_fdsets(QmpClient *client, GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, "query-fdsets",
		NULL, QMP_NO_FD, error);

	return reply ? qmp_reply_list("query-fdsets", reply, parse_fdset,
			       (GDestroyNotify)fdset_free, error) : NULL;
}

static bool is_noted(const FdSet *set, const char *prefix)
{
	for (guint i = 0; i < set->notes->len; i++) {
		if (g_str_has_prefix(set->notes->pdata[i], prefix))
			return true;
	}
	return false;
}

bool qmp_remove_fds_noted(QmpClient *client, const char *prefix,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(GPtrArray) sets = query_fdsets(client, &failure);

	if (g_error_matches(failure, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND))
		return true;
	if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	for (guint i = 0; sets && i < sets->len; i++) {
		const FdSet *set = sets->pdata[i];
		g_autoptr(GError) local = NULL;

		if (!is_noted(set, prefix) ||
			qmp_remove_fd(client, (int64_t)set->id, &local))
			continue;
		/* QEMU refuses only where the set is gone by now. */
		if (g_error_matches(local, QMP_ERROR, QMP_ERROR_GENERIC))
			continue;
		g_propagate_error(error, g_steal_pointer(&local));
		return false;
	}
	return sets;
}

bool qmp_getfd(QmpClient *client, int fd, const char *name, GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, "getfd",
		qmp_strings("fdname", name, NULL), fd, error);

	return reply;
}

bool qmp_closefd(QmpClient *client, const char *name, GError **error)
{
	GError *local = NULL;

	if (qmp_execute_void(client, "closefd",
		    qmp_strings("fdname", name, NULL), &local))
		return true;
	/* Its one refusal: there is no such name. */
	if (g_error_matches(local, QMP_ERROR, QMP_ERROR_GENERIC)) {
		fleece_set_error(error, ENOENT, "%s", local->message);
		g_error_free(local);
	} else {
		g_propagate_error(error, local);
	}
	return false;
}
