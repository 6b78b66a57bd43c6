/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-job.h"

#include "qmp-execute.h"
#include "qmp-query.h"

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
