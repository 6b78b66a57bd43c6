/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-export.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-execute.h"
#include "qmp-query.h"

bool qmp_nbd_server_start(QmpClient *client, const char *fdname,
	unsigned max_connections, GError **error)
{
	json_object *arguments = json_object_new_object();
	json_object *address = qmp_strings("type", "fd", NULL);

	json_object_object_add(address, "data",
		qmp_strings("str", fdname, NULL));
	json_object_object_add(arguments, "addr", address);
	json_object_object_add(arguments, "max-connections",
		json_object_new_int64(max_connections));
	return qmp_execute_void(client, "nbd-server-start", arguments, error);
}

bool qmp_nbd_server_stop(QmpClient *client, GError **error)
{
	return qmp_execute_void(client, "nbd-server-stop", NULL, error);
}

bool qmp_block_export_add(QmpClient *client, const char *id, const char *node,
	const char *name, bool writable, GError **error)
{
	json_object *arguments = qmp_strings("type", "nbd", "id", id,
		"node-name", node, "name", name, NULL);

	json_object_object_add(arguments, "writable",
		json_object_new_boolean(writable));
	return qmp_execute_void(client, "block-export-add", arguments, error);
}

static bool is_listed(QmpClient *client, const char *id, bool *listed,
	GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, error);

	if (!exports)
		return false;
	*listed = false;
	for (guint i = 0; i < exports->len; i++) {
		const QmpBlockExport *entry = exports->pdata[i];

		*listed |= g_str_equal(entry->id, id);
	}
	return true;
}

/*
 * QEMU refuses what is not there and what is on its way out in one error
 * class; *going tells which.
 */
static bool start_removal(QmpClient *client, const char *id, bool *going,
	GError **error)
{
	g_autoptr(GError) local = NULL;

	*going = qmp_execute_void(client, "block-export-del",
		qmp_strings("id", id, "mode", "hard", NULL), &local);
	if (*going)
		return true;
	if (g_error_matches(local, QMP_ERROR, QMP_ERROR_GENERIC)) {
		if (is_listed(client, id, going, error))
			return true;
		g_prefix_error(error, "block-export-del: ");
		return false;
	}
	g_propagate_error(error, g_steal_pointer(&local));
	return false;
}

bool qmp_block_export_del(QmpClient *client, const char *id, GError **error)
{
	bool going;

	if (!start_removal(client, id, &going, error))
		return false;
	if (going)
		return qmp_wait_gone(client, "block-export-del", id, is_listed,
			error);
	fleece_set_error(error, ENOENT, "block-export-del: no export %s", id);
	return false;
}
