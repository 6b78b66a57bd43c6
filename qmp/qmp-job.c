/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-job.h"

#include "qmp-execute.h"
#include "qmp-query.h"

static json_object *backup_action(const QmpBackup *backup,
	bool break_snapshot)
{
	json_object *action = qmp_strings("type", "blockdev-backup", NULL);
	json_object *data = qmp_strings("job-id", backup->job, "device",
		backup->device, "target", backup->target, "sync", "none",
		"filter-node-name", backup->filter, NULL);

	if (break_snapshot)
		json_object_object_add(data, "on-cbw-error",
			json_object_new_string("break-snapshot"));
	json_object_object_add(action, "data", data);
	return action;
}

bool qmp_transaction_backup(QmpClient *client, const QmpBackup *backups,
	size_t n_backups, bool break_snapshot, GError **error)
{
	json_object *arguments = json_object_new_object();
	json_object *actions = json_object_new_array();

	for (size_t i = 0; i < n_backups; i++)
		json_object_array_add(actions,
			backup_action(&backups[i], break_snapshot));
	json_object_object_add(arguments, "actions", actions);
	return qmp_execute_void(client, "transaction", arguments, error);
}

static bool is_listed(QmpClient *client, const char *id, bool *listed,
	GError **error)
{
	g_autoptr(GPtrArray) jobs = qmp_query_jobs(client, error);

	if (!jobs)
		return false;
	*listed = false;
	for (guint i = 0; i < jobs->len; i++) {
		const QmpJob *job = jobs->pdata[i];

		*listed |= g_str_equal(job->id, id);
	}
	return true;
}

bool qmp_job_cancel(QmpClient *client, const char *job, GError **error)
{
	json_object *arguments = qmp_strings("device", job, NULL);

	json_object_object_add(arguments, "force",
		json_object_new_boolean(true));
	return qmp_execute_void(client, "block-job-cancel", arguments,
		       error) &&
		qmp_wait_gone(client, "block-job-cancel", job, is_listed,
			error);
}
