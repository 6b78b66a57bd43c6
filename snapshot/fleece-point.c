/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-block.h"
#include "qmp-object.h"
#include "qmp-query.h"

/* A guest that stands still longer than this is let go, whatever it costs. */
#define PAUSE_LIMIT_MS 5000
/* So that we come to let it go ourselves before that: all commands of a pause
 * together, but for the one that ends it. */
#define PAUSE_BUDGET_MS 4000
/* What that one has, beyond the budget. */
#define PAUSE_CONT_MS 500

static unsigned count_written(const FleeceBuild *build)
{
	unsigned n = 0;

	for (guint i = 0; i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];

		n += disk->scratch_fd >= 0;
	}
	return n;
}

static bool add_filter(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	QmpFilter filter = {
		.node = disk->filter,
		.file = disk->disk->node,
		.target = disk->scratch,
		.cbw_timeout = build->fleece->plan.cbw_timeout,
		.bitmap = disk->part->limited ? fleece_chain_bitmap(disk) :
						NULL,
	};

	return undo_list_add(build->request->undo, UNDO_NODE, disk->filter,
		       NULL, NULL, NULL, error) &&
		qmp_blockdev_add_filter(build->client, &filter, error);
}

static bool expect_filter(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	return undo_list_add(build->request->undo, UNDO_FILTER, disk->filter,
		disk->disk->qdev, disk->disk->node, NULL, error);
}

static bool put_filter(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	return qmp_qom_set_drive(build->client, disk->disk->qdev,
		disk->filter, error);
}

static bool add_access(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	return undo_list_add(build->request->undo, UNDO_NODE, disk->access,
		       NULL, NULL, NULL, error) &&
		qmp_blockdev_add_access(build->client, disk->access,
			disk->filter, error);
}

typedef bool DiskStep(FleeceBuild *build, const BuildDisk *disk,
	GError **error);

/* In a pause, or a freeze, each command gets what the others have left of the
 * budget. */
static void limit_command(FleeceBuild *build)
{
	gint64 ends = build->pause_ends ? build->pause_ends :
		build->freeze_ends;
	gint64 left_us = ends - g_get_monotonic_time();

	if (ends)
		qmp_client_set_timeout(build->client,
			MAX(left_us / 1000, 1));
}

static bool for_written(FleeceBuild *build, DiskStep *step, GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];

		limit_command(build);
		if (disk->scratch_fd >= 0 && !step(build, disk, error)) {
			g_prefix_error(error, "disk %s: ", disk->disk->id);
			return false;
		}
	}
	return true;
}

static bool set_state(FleeceBuild *build, const char *state, GError **error)
{
	g_free(build->owner->state);
	build->owner->state = g_strdup(state);
	return owner_renew(build->client, build->owner, error);
}

/* Everything that has to be said before the guest may be stopped. */
static bool announce_stop(FleeceBuild *build, unsigned *undo, GError **error)
{
	const FleeceRequest *request = build->request;

	limit_command(build);
	return set_state(build, "stopped", error) &&
		undo_list_add(request->undo, UNDO_STOP, NULL, NULL, NULL,
			undo, error) &&
		guardian_window_open(request->guardian, request->undo, *undo,
			PAUSE_LIMIT_MS, error);
}

/* When a pause that begins now has to end. */
static gint64 pause_end(const FleeceBuild *build)
{
	unsigned timeout = build->request->settings->timeout_ms;
	gint64 ends = g_get_monotonic_time() +
		MIN(timeout, PAUSE_BUDGET_MS) * G_TIME_SPAN_MILLISECOND;

	return build->freeze_ends ? MIN(ends, build->freeze_ends) : ends;
}

/*
 * Lets the guest go on.  Where that fails the undo list still holds the cont,
 * which is tried over a new connection, together with all the rest.
 */
static bool resume(FleeceBuild *build, unsigned undo, gint64 stopped,
	GError **error)
{
	build->pause_ends += PAUSE_CONT_MS * G_TIME_SPAN_MILLISECOND;
	limit_command(build);
	if (!qmp_cont(build->client, error))
		return false;
	build->pause_ends = 0;
	build->fleece->pause_us = g_get_monotonic_time() - stopped;
	undo_list_drop(build->request->undo, undo);
	return true;
}

/* Whether the nodes can only be made when the guest stands still: this QEMU
 * needs it, or a filter is made after what the base has recorded. */
static bool builds_in_pause(const FleeceBuild *build)
{
	bool limited = false;

	for (guint i = 0; i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];

		limited |= disk->part->limited;
	}
	return limited || build->fleece->plan.build_in_pause;
}

static bool run(FleeceBuild *build, QmpTransaction *transaction,
	GError **error)
{
	limit_command(build);
	return qmp_transaction_run(transaction, build->client, error);
}

/* With METHOD_ACCESS one command makes all that is above the disk. */
static bool is_by_access(const FleeceBuild *build)
{
	return build->fleece->plan.method == METHOD_ACCESS;
}

/* None that has come before the filters may be passed by. */
static bool check_jobs(FleeceBuild *build, GError **error)
{
	limit_command(build);
	return fleece_check_jobs(build, error);
}

/* Their undo is in the list before the guest stands still. */
static bool add_filters(FleeceBuild *build, GError **error)
{
	return is_by_access(build) ||
		(for_written(build, add_filter, error) &&
			check_jobs(build, error) &&
			for_written(build, expect_filter, error));
}

static bool put_filters(FleeceBuild *build, GError **error)
{
	if (!is_by_access(build))
		return for_written(build, put_filter, error);
	limit_command(build);
	return fleece_access_set_up(build, error);
}

static bool add_accesses(FleeceBuild *build, GError **error)
{
	return is_by_access(build) || for_written(build, add_access, error);
}

/* All that belongs to the instant. */
static bool attach(FleeceBuild *build, GError **error)
{
	bool build_now = builds_in_pause(build);
	g_autoptr(QmpTransaction) before = qmp_transaction_new();
	g_autoptr(QmpTransaction) after = qmp_transaction_new();

	if (!fleece_chain_begin(build, error))
		return false;
	fleece_chain_before(build, before);
	fleece_chain_after(build, after);
	return (!build->fleece->plan.build_in_pause ||
		       for_written(build, fleece_check_thread, error)) &&
		run(build, before, error) &&
		(!build_now || add_filters(build, error)) &&
		put_filters(build, error) &&
		run(build, after, error) &&
		(!build_now || add_accesses(build, error));
}

/* Whoever has a monitor may let it go on at any time; then what is written
 * between the first disk and the last is on the last alone. */
static bool check_stood_still(FleeceBuild *build, GError **error)
{
	bool running;

	limit_command(build);
	if (!qmp_query_status(build->client, &running, NULL, error))
		return false;
	if (running)
		fleece_set_error(error, EAGAIN, "it was continued in the "
			"midst of the instant: try again");
	return !running;
}

static bool attach_in_pause(FleeceBuild *build, unsigned undo, GError **error)
{
	gint64 stopped = g_get_monotonic_time();
	bool attached;

	if (!qmp_stop(build->client, error))
		return false;
	attached = attach(build, error) && check_stood_still(build, error);
	return resume(build, undo, stopped, attached ? error : NULL) &&
		attached;
}

/* Stops the guest, if only for a few milliseconds. */
static bool attach_paused(FleeceBuild *build, GError **error)
{
	const FleeceRequest *request = build->request;
	unsigned timeout = request->settings->timeout_ms;
	g_autoptr(GError) unwinding = NULL;
	unsigned undo;
	bool attached;

	if (!announce_stop(build, &undo, error))
		return false;
	build->pause_ends = pause_end(build);
	limit_command(build);
	attached = attach_in_pause(build, undo, error);
	if (!attached) {
		/* the guest first: not after the set-up has unwound */
		g_clear_pointer(&build->client, qmp_client_free);
		fleece_extend_freeze(build);
		undo_list_run_at(request->undo, request->monitor, timeout,
			&unwinding);
		return false;
	}
	qmp_client_set_timeout(build->client, timeout);
	return true;
}

/* The guest is as it was: the note may say so, now that nobody waits. */
static bool settle(FleeceBuild *build, GError **error)
{
	return g_str_equal(build->owner->state, "setup") ||
		set_state(build, "setup", error);
}

static bool attach_as_it_is(FleeceBuild *build, bool running, GError **error)
{
	return attach(build, error) && (running || count_written(build) <= 1 ||
		check_stood_still(build, error));
}

/* One disk needs no pause: qom-set is atomic, and so is backup-access-setup.
 * Of several, no write may fall between the first and the last. */
static bool point_by_filter(FleeceBuild *build, GError **error)
{
	bool in_pause = builds_in_pause(build);
	g_autofree char *status = NULL;
	bool paused, running;

	if ((!in_pause && !add_filters(build, error)) ||
	    !fleece_freeze(build, error))
		return false;
	limit_command(build);
	if (!qmp_query_status(build->client, &running, &status, error) ||
	    !fleece_check_here(status, error))
		return false;
	paused = running && count_written(build) > (in_pause ? 0 : 1);
	if (!(paused ? attach_paused(build, error) :
			attach_as_it_is(build, running, error)) ||
	    !fleece_thaw(build, error) || !settle(build, error))
		return false;
	return in_pause || add_accesses(build, error);
}

static bool add_job_undo(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	return undo_list_add(build->request->undo, UNDO_JOB, disk->job, NULL,
		NULL, NULL, error);
}

static void add_backup(FleeceBuild *build, const BuildDisk *disk,
	QmpTransaction *transaction)
{
	QmpBackup backup = { disk->job, disk->disk->node, disk->scratch,
		disk->filter, !build->fleece->plan.reserve_scratch };

	if (disk->scratch_fd >= 0)
		qmp_transaction_backup(transaction, &backup);
}

static bool point_by_job(FleeceBuild *build, GError **error)
{
	g_autoptr(QmpTransaction) transaction = qmp_transaction_new();

	if (!for_written(build, add_job_undo, error) ||
	    !fleece_freeze(build, error) || !fleece_chain_begin(build, error))
		return false;
	fleece_chain_before(build, transaction);
	for (guint i = 0; i < build->disks->len; i++)
		add_backup(build, build->disks->pdata[i], transaction);
	fleece_chain_after(build, transaction);
	return run(build, transaction, error) && fleece_thaw(build, error) &&
		settle(build, error) && for_written(build, add_access, error);
}

bool fleece_point(FleeceBuild *build, GError **error)
{
	if (build->fleece->plan.method == METHOD_JOB)
		return point_by_job(build, error);
	return point_by_filter(build, error);
}
