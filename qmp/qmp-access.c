/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-access.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"

#define SET_UP "backup-access-setup"

bool qmp_query_access_api(QmpClient *client, bool *has, GError **error)
{
	static const char command[] = "query-proxmox-support";
	g_autoptr(GError) failure = NULL;
	g_autoptr(json_object) reply = qmp_execute(client, command, NULL,
		QMP_NO_FD, &failure);
	json_object *member;

	*has = false;
	if (g_error_matches(failure, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND))
		return true;
	if (!reply) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!qmp_reply_check(command, reply, "return", json_type_object,
		    error) ||
	    !qmp_reply_optional(command, reply, "backup-access-api",
		    json_type_boolean, &member, error))
		return false;
	*has = json_object_get_boolean(member);
	return true;
}

static void access_free(QmpAccess *access)
{
	g_free(access->device);
	g_free(access->node);
	g_free(access);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpAccess, access_free)

static gpointer parse_access(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpAccess) access = g_new0(QmpAccess, 1);

	if (!qmp_reply_dup(command, element, "device", &access->device,
		    error) ||
	    !qmp_reply_dup(command, element, "node-name", &access->node,
		    error) ||
	    !qmp_reply_size(command, element, "size", &access->size, error))
		return NULL;
	return g_steal_pointer(&access);
}

/* Whether there is one for each device, in their order. */
static bool are_of(const GPtrArray *list, const char *const *devices,
	GError **error)
{
	bool same = list->len == g_strv_length((char **)devices);

	for (guint i = 0; same && i < list->len; i++) {
		const QmpAccess *access = list->pdata[i];

		same = g_str_equal(access->device, devices[i]);
	}
	if (!same)
		fleece_set_error(error, EPROTO, SET_UP ": other devices were "
			"asked for than are in the reply");
	return same;
}

static json_object *device_list(const char *const *devices)
{
	json_object *list = json_object_new_array();

	for (; *devices; devices++)
		json_object_array_add(list, qmp_strings("device", *devices,
			"bitmap-mode", "none", NULL));
	return list;
}

GPtrArray *qmp_access_set_up(QmpClient *client, const char *target,
	const char *const *devices, GError **error)
{
	json_object *arguments = qmp_strings("target-id", target, NULL);
	g_autoptr(json_object) reply = NULL;
	g_autoptr(GPtrArray) list = NULL;

	g_assert(devices[0]);
	json_object_object_add(arguments, "devices", device_list(devices));
	reply = qmp_execute(client, SET_UP, arguments, QMP_NO_FD, error);
	list = reply ? qmp_reply_list(SET_UP, reply, parse_access,
			       (GDestroyNotify)access_free, error) : NULL;
	return list && are_of(list, devices, error) ? g_steal_pointer(&list) :
						      NULL;
}

/* success is about its bitmaps, of which there are none. */
bool qmp_access_tear_down(QmpClient *client, const char *target,
	GError **error)
{
	json_object *arguments = qmp_strings("target-id", target, NULL);

	json_object_object_add(arguments, "success",
		json_object_new_boolean(0));
	return qmp_execute_void(client, "backup-access-teardown", arguments,
		error);
}
