/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-transaction.h"

#include "qmp-execute.h"

struct QmpTransaction {
	json_object *actions; /* NULL once it was run */
};

QmpTransaction *qmp_transaction_new(void)
{
	QmpTransaction *transaction = g_new0(QmpTransaction, 1);

	transaction->actions = json_object_new_array();
	return transaction;
}

void qmp_transaction_free(QmpTransaction *transaction)
{
	if (!transaction)
		return;
	json_object_put(transaction->actions);
	g_free(transaction);
}

/* Takes data. */
static void add(QmpTransaction *transaction, const char *type,
	json_object *data)
{
	json_object *action = qmp_strings("type", type, NULL);

	json_object_object_add(action, "data", data);
	json_object_array_add(transaction->actions, action);
}

void qmp_transaction_backup(QmpTransaction *transaction,
	const QmpBackup *backup)
{
	json_object *data = qmp_strings("job-id", backup->job, "device",
		backup->device, "target", backup->target, "sync", "none",
		"filter-node-name", backup->filter, NULL);

	if (backup->break_snapshot)
		json_object_object_add(data, "on-cbw-error",
			json_object_new_string("break-snapshot"));
	add(transaction, "blockdev-backup", data);
}

void qmp_transaction_bitmap_add(QmpTransaction *transaction, const char *node,
	const char *name, unsigned granularity, enum qmp_bitmap_mode mode)
{
	json_object *data = qmp_strings("node", node, "name", name, NULL);

	json_object_object_add(data, "granularity",
		json_object_new_int64(granularity));
	if (mode == QMP_BITMAP_PERSISTENT)
		json_object_object_add(data, "persistent",
			json_object_new_boolean(true));
	if (mode == QMP_BITMAP_DISABLED)
		json_object_object_add(data, "disabled",
			json_object_new_boolean(true));
	add(transaction, "block-dirty-bitmap-add", data);
}

void qmp_transaction_bitmap_merge(QmpTransaction *transaction,
	const char *node, const char *target, const char *source_node,
	const char *source)
{
	json_object *data = qmp_strings("node", node, "target", target, NULL);
	json_object *sources = json_object_new_array();

	json_object_array_add(sources, qmp_strings("node", source_node,
		"name", source, NULL));
	json_object_object_add(data, "bitmaps", sources);
	add(transaction, "block-dirty-bitmap-merge", data);
}

void qmp_transaction_bitmap_remove(QmpTransaction *transaction,
	const char *node, const char *name)
{
	add(transaction, "block-dirty-bitmap-remove",
		qmp_strings("node", node, "name", name, NULL));
}

bool qmp_transaction_run(QmpTransaction *transaction, QmpClient *client,
	GError **error)
{
	json_object *arguments;

	if (json_object_array_length(transaction->actions) == 0)
		return true;
	arguments = json_object_new_object();
	json_object_object_add(arguments, "actions",
		g_steal_pointer(&transaction->actions));
	return qmp_execute_void(client, "transaction", arguments, error);
}

bool qmp_bitmap_remove(QmpClient *client, const char *node, const char *name,
	GError **error)
{
	return qmp_execute_void(client, "block-dirty-bitmap-remove",
		qmp_strings("node", node, "name", name, NULL), error);
}
