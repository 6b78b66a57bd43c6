/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-job.h - backup jobs that only copy before write
 *
 * Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

typedef struct {
	const char *job;    /* job id: a letter, then [A-Za-z0-9-._] */
	const char *device; /* the disk's root node */
	const char *target; /* the scratch node */
	const char *filter; /* name for the filter node that the job inserts */
} QmpBackup;

/*
 * One transaction of blockdev-backup sync=none for all of them: all disks are
 * at one instant, or QEMU changed nothing.  break_snapshot adds
 * on-cbw-error=break-snapshot (QEMU 10.1).  Never "grouped": a failing
 * grouped transaction hangs QEMU 7.2.
 */
bool qmp_transaction_backup(QmpClient *client, const QmpBackup *backups,
	size_t n_backups, bool break_snapshot, GError **error);

/*
 * Cancels the job and returns when it is gone from query-jobs, within the
 * client's time limit.  QMP_ERROR_DEVICE_NOT_ACTIVE where there is no such
 * job.
 */
bool qmp_job_cancel(QmpClient *client, const char *job, GError **error);
