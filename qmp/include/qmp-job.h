/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-job.h - the end of jobs; they are begun in transactions
 *
 * Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

/*
 * Cancels the job and returns when it is gone from query-jobs, within the
 * client's time limit.  QMP_ERROR_DEVICE_NOT_ACTIVE where there is no such
 * job.
 */
bool qmp_job_cancel(QmpClient *client, const char *job, GError **error);
