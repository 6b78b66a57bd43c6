/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-object.h"

#include "qmp-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"

static json_object *qom_get(QmpClient *client, const char *path,
	const char *property, json_type type, GError **error)
{
	g_autoptr(json_object) value = qmp_execute(client, "qom-get",
		qmp_strings("path", path, "property", property, NULL),
		QMP_NO_FD, error);

	if (!value || !qmp_reply_check("qom-get", value, property, type,
			      error))
		return NULL;
	return g_steal_pointer(&value);
}

char *qmp_qom_type(QmpClient *client, const char *path, GError **error)
{
	return qmp_qom_get_string(client, path, "type", error);
}

bool qmp_qom_get_bool(QmpClient *client, const char *path,
	const char *property, bool *value, GError **error)
{
	g_autoptr(GError) local = NULL;
	g_autoptr(json_object) reply = qom_get(client, path, property,
		json_type_boolean, &local);
	bool has = true;

	*value = json_object_get_boolean(reply);
	if (reply)
		return true;
	/* QEMU has no error class for it, so ask. */
	if (g_error_matches(local, QMP_ERROR, QMP_ERROR_GENERIC) &&
		!qmp_qom_has(client, path, property, &has, error)) {
		g_prefix_error(error, "qom-get: ");
		return false;
	}
	if (has)
		g_propagate_error(error, g_steal_pointer(&local));
	return !has;
}

char *qmp_qom_get_string(QmpClient *client, const char *path,
	const char *property, GError **error)
{
	g_autoptr(json_object) reply = qom_get(client, path, property,
		json_type_string, error);

	return reply ? g_strdup(json_object_get_string(reply)) : NULL;
}

bool qmp_qom_set_drive(QmpClient *client, const char *path, const char *node,
	GError **error)
{
	return qmp_execute_void(client, "qom-set",
		qmp_strings("path", path, "property", "drive", "value", node,
			NULL), error);
}

static gpointer parse_name(const char *command, json_object *element,
	GError **error)
{
	return g_strdup(qmp_reply_string(command, element, "name", error));
}

static gpointer parse_type(const char *command, json_object *element,
	GError **error)
{
	return g_strdup(qmp_reply_string(command, element, "type", error));
}

static GPtrArray *qom_list(QmpClient *client, const char *path,
	QmpParse parse, GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, "qom-list",
		qmp_strings("path", path, NULL), QMP_NO_FD, error);

	return reply ? qmp_reply_list("qom-list", reply, parse, g_free,
			       error) : NULL;
}

bool qmp_qom_has(QmpClient *client, const char *path, const char *name,
	bool *has, GError **error)
{
	g_autoptr(GPtrArray) names = qom_list(client, path, parse_name, error);

	if (!names)
		return false;
	*has = g_ptr_array_find_with_equal_func(names, name, g_str_equal,
		NULL);
	return true;
}

int qmp_count_objects(QmpClient *client, const char *type, GError **error)
{
	g_autoptr(GPtrArray) types = qom_list(client, "/objects", parse_type,
		error);
	g_autofree char *child = g_strdup_printf("child<%s>", type);
	int count = 0;

	for (guint i = 0; types && i < types->len; i++)
		count += g_str_equal(types->pdata[i], child);
	return types ? count : -1;
}

bool qmp_object_add_note(QmpClient *client, const char *id,
	const char *identity, GError **error)
{
	return qmp_execute_void(client, "object-add",
		qmp_strings("qom-type", "authz-simple", "id", id, "identity",
			identity, NULL), error);
}

bool qmp_object_set_note(QmpClient *client, const char *id,
	const char *identity, GError **error)
{
	g_autofree char *path = g_strdup_printf("/objects/%s", id);

	return qmp_execute_void(client, "qom-set",
		qmp_strings("path", path, "property", "identity", "value",
			identity, NULL), error);
}

bool qmp_object_del(QmpClient *client, const char *id, GError **error)
{
	return qmp_execute_void(client, "object-del",
		qmp_strings("id", id, NULL), error);
}

bool qmp_stop(QmpClient *client, GError **error)
{
	return qmp_execute_void(client, "stop", NULL, error);
}

bool qmp_cont(QmpClient *client, GError **error)
{
	return qmp_execute_void(client, "cont", NULL, error);
}
