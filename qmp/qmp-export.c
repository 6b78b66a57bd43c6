/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-export.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-execute.h"
#include "qmp-query.h"

static bool start(QmpClient *client, const char *type, json_object *data,
	unsigned max_connections, GError **error)
{
	json_object *arguments = json_object_new_object();
	json_object *address = qmp_strings("type", type, NULL);

	json_object_object_add(address, "data", data);
	json_object_object_add(arguments, "addr", address);
	json_object_object_add(arguments, "max-connections",
		json_object_new_int64(max_connections));
	return qmp_execute_void(client, "nbd-server-start", arguments, error);
}

bool qmp_nbd_server_start(QmpClient *client, const char *fdname,
	unsigned max_connections, GError **error)
{
	return start(client, "fd", qmp_strings("str", fdname, NULL),
		max_connections, error);
}

bool qmp_nbd_server_start_at(QmpClient *client, const char *path,
	unsigned max_connections, GError **error)
{
	return start(client, "unix", qmp_strings("path", path, NULL),
		max_connections, error);
}

bool qmp_nbd_server_stop(QmpClient *client, GError **error)
{
	return qmp_execute_void(client, "nbd-server-stop", NULL, error);
}

static json_object *bitmap_list(const QmpExport *export)
{
	json_object *list = json_object_new_array();

	for (const char *const *name = export->bitmaps; *name; name++)
		json_object_array_add(list, qmp_strings("node",
			export->bitmap_node, "name", *name, NULL));
	return list;
}

bool qmp_block_export_add(QmpClient *client, const QmpExport *export,
	GError **error)
{
	json_object *arguments = qmp_strings("type", "nbd", "id", export->id,
		"node-name", export->node, "name", export->name, NULL);

	json_object_object_add(arguments, "writable",
		json_object_new_boolean(export->writable));
	if (export->fixed)
		json_object_object_add(arguments, "fixed-iothread",
			json_object_new_boolean(true));
	if (export->bitmaps)
		json_object_object_add(arguments, "bitmaps",
			bitmap_list(export));
	return qmp_execute_void(client, "block-export-add", arguments, error);
}

enum presence { ABSENT, PRESENT, LEAVING };

static bool look_up(QmpClient *client, const char *id, enum presence *found,
	GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, error);

	*found = ABSENT;
	for (guint i = 0; exports && i < exports->len; i++) {
		const QmpBlockExport *entry = exports->pdata[i];

		if (g_str_equal(entry->id, id))
			*found = entry->leaving ? LEAVING : PRESENT;
	}
	return exports != NULL;
}

static bool is_listed(QmpClient *client, const char *id, bool *listed,
	GError **error)
{
	enum presence found;

	if (!look_up(client, id, &found, error))
		return false;
	*listed = found != ABSENT;
	return true;
}

/* QEMU refuses what is not there, what is on its way out already and what it
 * cannot remove in one error class: looking tells which. */
static bool explain_refusal(QmpClient *client, const char *id,
	GError *refusal_take, GError **error)
{
	g_autoptr(GError) refusal = refusal_take;
	enum presence found;

	if (!look_up(client, id, &found, error)) {
		g_prefix_error(error, "block-export-del: ");
		return false;
	}
	if (found == LEAVING)
		return true;
	if (found == ABSENT)
		fleece_set_error(error, ENOENT,
			"block-export-del: no export %s", id);
	else
		g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

static bool start_removal(QmpClient *client, const char *id, GError **error)
{
	g_autoptr(GError) refusal = NULL;

	if (qmp_execute_void(client, "block-export-del",
		    qmp_strings("id", id, "mode", "hard", NULL), &refusal))
		return true;
	if (g_error_matches(refusal, QMP_ERROR, QMP_ERROR_GENERIC))
		return explain_refusal(client, id, g_steal_pointer(&refusal),
			error);
	g_propagate_error(error, g_steal_pointer(&refusal));
	return false;
}

bool qmp_block_export_del(QmpClient *client, const char *id, GError **error)
{
	return start_removal(client, id, error) &&
		qmp_wait_gone(client, "block-export-del", id, is_listed,
			error);
}
