/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quirks.h"

#include <errno.h>

#include "fleece-error.h"

static void warn(QemuPlan *plan, const char *text)
{
	unsigned i = 0;

	while (plan->warnings[i]) {
		if (plan->warnings[i++] == text)
			return;
	}
	g_assert(i + 1 < G_N_ELEMENTS(plan->warnings));
	plan->warnings[i] = text;
}

static bool refuse(const Settings *settings, QemuPlan *plan, const char *why,
	GError **error)
{
	if (settings->unsafe_qemu) {
		warn(plan, why);
		return true;
	}
	fleece_set_error(error, EOPNOTSUPP,
		"%s (unsafe_qemu goes on all the same)", why);
	return false;
}

/* Told by the version and not by query-qmp-schema: QEMU composes that under its
 * big lock, for which the guest waits, up to 130 ms the first time. */
static bool job_breaks(unsigned version)
{
	return version >= QEMU_VERSION(10, 1, 0);
}

/* The job never lets go of a guest's write that waits for scratch: there is no
 * cbw-timeout for it, not even where it knows on-cbw-error. */
static enum method choose(const Settings *settings, QemuPlan *plan)
{
	if (settings->method != METHOD_AUTO) {
		plan->reason = "asked for";
		return settings->method;
	}
	if (plan->daemon) {
		plan->reason = "a storage daemon has no devices, under which "
			       "a filter could be put";
		return METHOD_JOB;
	}
	plan->reason = "only the filter keeps a scratch that fails, or does "
		       "not answer, away from the guest";
	return METHOD_FILTER;
}

/*
 * qemu-storage-daemon is QEMU's block layer with a monitor.  It has
 * object-add, qom-set, transactions with bitmaps and blockdev-backup, exports
 * and one NBD server as QEMU has them.  It lacks (7.2.22) getfd, add-fd,
 * query-uuid, query-iothreads, query-status, stop and cont, and there is no
 * device whose drive could be set: the job is the only way to put a filter
 * over a disk that is in use.
 */
static bool check_daemon(const QemuFacts *facts, const QemuPlan *plan,
	GError **error)
{
	if (!facts->daemon || plan->method == METHOD_JOB)
		return true;
	fleece_set_error(error, EOPNOTSUPP, "method=%s needs devices, and a "
		"storage daemon has none: there is only method=job",
		method_to_text(plan->method));
	return false;
}

static bool check_access(const QemuFacts *facts, const QemuPlan *plan,
	GError **error)
{
	if (plan->method != METHOD_ACCESS || facts->access)
		return true;
	fleece_set_error(error, EOPNOTSUPP, "method=access needs "
		"backup-access-setup, which the QEMU of Proxmox VE has and "
		"this one lacks: use method=filter");
	return false;
}

/*
 * One access is all that a VM can have, so one command takes all disks.  Where
 * that fails at the second, the filter of the first has no owner any more, and
 * backup-access-teardown finds nothing to do (pve-backup.c of 10.0 and 11.0,
 * qmp_backup_access_setup(), its label err).
 */
bool quirks_access(const Settings *settings, QemuPlan *plan, unsigned n,
	GError **error)
{
	return n <= 1 || refuse(settings, plan, "backup-access-setup takes one "
		"disk after the other, and if it fails at one, the filters of "
		"those before it stay until the VM ends; choose one with "
		"disk=, or use method=filter", error);
}

/*
 * Whoever may write to the file of a FUSE export may truncate it, and nothing
 * but a look at the export's options, which no command gives, tells whether
 * they may; no permission of the block layer stops them.  A read of what was
 * behind the new end then aborts QEMU ("hbitmap_status: Assertion `start +
 * count <= hb->orig_size'", seen with 7.2.22), and all other disks go with
 * it.
 */
bool quirks_fuse(const Settings *settings, QemuPlan *plan, GError **error)
{
	return refuse(settings, plan, "its FUSE export can be truncated, and "
		"under a snapshot that aborts the storage daemon; leave it "
		"out with disk=", error);
}

/*
 * snapshot-access over a job's filter in an iothread aborts QEMU 7.x:
 * "qemu_mutex_unlock_impl: Operation not permitted".  A storage daemon of that
 * version was seen to live through it, but there is no deposit either, which
 * keeps our death from it (HACKING).  That of 10.0.13 aborts, for an export,
 * other than a device, lets its disk be moved to another thread when the job
 * begins ("bdrv_insert_node: Assertion `bdrv_get_aio_context(bs) == ctx'"); and
 * so does one that is fixed-iothread ("vhost_user_server_attach_aio_context:
 * Assertion `!co_ctx || co_ctx == ctx'").  No option overrides such an abort.
 */
static bool check_job(const QemuFacts *facts, const QemuPlan *plan,
	GError **error)
{
	if (plan->method != METHOD_JOB || !facts->iothreads)
		return true;
	if (!facts->daemon && facts->version >= QEMU_VERSION(8, 0, 0))
		return true;
	fleece_set_error(error, EOPNOTSUPP, "method=job with iothreads aborts "
		"this QEMU; %s", facts->daemon ? "a storage daemon has to "
		"serve its disks without any" : "use method=filter");
	return false;
}

/* 8.1: any drain can leave the guest's I/O stuck (RHEL-3934); the others of
 * 8.x and 9.0 were never seen to be safe. */
static bool check_iothreads(const QemuFacts *facts, const Settings *settings,
	QemuPlan *plan, GError **error)
{
	if (!facts->iothreads || facts->version < QEMU_VERSION(8, 0, 0) ||
	    facts->version >= QEMU_VERSION(9, 1, 0))
		return true;
	return refuse(settings, plan,
		"QEMU 8.0 to 9.0 with iothreads can leave the guest's I/O "
		"stuck when a disk is drained", error);
}

/* Overlapping requests on snapshot-access abort QEMU (the request list's
 * assertion) until 9.1.2; Debian's 7.2.15 carries the fix. */
static unsigned in_flight_limit(unsigned version)
{
	bool fixed72 = version >= QEMU_VERSION(7, 2, 15) &&
		version < QEMU_VERSION(7, 3, 0);

	return fixed72 || version >= QEMU_VERSION(9, 1, 2) ? 0 : 1;
}

/*
 * Where a request begins in a cluster that was copied and goes on into one
 * that was not, copy-before-write takes the first for not copied, too, until
 * 8.0 ("hbitmap: fix hbitmap_status() return value for first dirty bit case";
 * Debian's 7.2.22 lacks it): what the guest wrote since is read, and its new
 * zeros are reported as a hole.  A request within one cluster is right.
 */
static bool mixes_clusters(unsigned version)
{
	return version < QEMU_VERSION(8, 0, 0);
}

/* What backup-access-setup gives its filter, whatever is asked for. */
#define ACCESS_CBW_TIMEOUT 45

/* cbw-timeout is a 32 bit number of nanoseconds until 9.1: it wraps at 4.29
 * seconds. The job has no such limit in any version. */
static unsigned timeout_limit(const QemuFacts *facts, const QemuPlan *plan,
	unsigned wanted)
{
	if (plan->method == METHOD_JOB)
		return 0;
	if (plan->method == METHOD_ACCESS)
		return ACCESS_CBW_TIMEOUT;
	return facts->version < QEMU_VERSION(9, 1, 0) ? MIN(wanted, 4) : wanted;
}

/*
 * blockdev-add over a node with requests in flight in an iothread aborts QEMU
 * as long as there are AioContext locks (until 9.0): the BlockBackend made
 * for probing is drained without the lock, "qemu_mutex_unlock_impl: Operation
 * not permitted".  So does one over a throttle there, with nothing in flight:
 * its end of a drain runs in the iothread.  A stopped guest has nothing in
 * flight, and its virtio-blk devices have given their nodes back to the main
 * thread, mostly; fleece-thread.c asks.
 */
static bool needs_pause(const QemuFacts *facts)
{
	return facts->iothreads && facts->version < QEMU_VERSION(9, 0, 0);
}

/*
 * A reset of the guest, or an unplug, takes a disk's nodes out of the iothread
 * and back into it.  With NBD clients connected that aborts QEMU now and then
 * ("blk_aio_attached: Assertion `client->recv_coroutine == NULL'", seen with
 * 7.2.22; 9.0 has another code there).  A fixed export refuses the move, which
 * the device does not mind: it goes on in the thread in which the nodes are.
 */
static bool must_stay_in_thread(const QemuFacts *facts)
{
	return facts->iothreads && facts->version < QEMU_VERSION(9, 0, 0);
}

/*
 * With iothreads an export more on a disk is a danger of its own.  Whoever
 * deletes it while the disk's clients are at work has QEMU wait for them:
 * before 9.0 that aborts QEMU now and then (nbd-server-stop, 7.2.22:
 * nbd_co_receive_request).  10.0 was not seen to fail, but was slow at it on a
 * busy machine; no version is trusted.
 */
static bool may_hold_size(const QemuFacts *facts, const QemuPlan *plan)
{
	return plan->method != METHOD_JOB && !facts->iothreads;
}

static void add_warnings(unsigned version, QemuPlan *plan)
{
	if (version >= QEMU_VERSION(9, 0, 0) &&
	    version < QEMU_VERSION(9, 0, 2))
		warn(plan, "QEMU 9.0.0 and 9.0.1 can hang in QMP commands "
			   "(RHEL-34618): update it");
	if (version >= QEMU_VERSION(10, 0, 0) &&
	    version < QEMU_VERSION(10, 0, 10))
		warn(plan, "QEMU 10.0 before 10.0.10 has locking bugs in its "
			   "block layer: update it");
}

/*
 * A server of somebody else's may be a QEMU that shows a fleece, and nothing
 * in the protocol tells which version it is.  Before 8.0 it mixes clusters,
 * see above: only a request within 64 KiB, the smallest cluster there is, is
 * sure to be right, and what it calls a hole may have become one since the
 * instant.  Before 9.1.2 two requests that overlap may abort it, and with it
 * the guest; so may, before 9.1, a trim that is no multiple of its clusters,
 * which are as large as those of the scratch image: 2 MiB, if that is a qcow2
 * with the largest.
 */
void quirks_server_plan(bool safe, ServerPlan *plan)
{
	*plan = (ServerPlan){ .cluster = 2 << 20, .holes = safe };
	if (safe)
		return;
	plan->max_in_flight = 1;
	plan->piece = 65536;
}

bool quirks_plan(const QemuFacts *facts, const Settings *settings,
	QemuPlan *plan, GError **error)
{
	*plan = (QemuPlan){ .daemon = facts->daemon };
	if (facts->version < QEMU_VERSION(7, 1, 0)) {
		fleece_set_error(error, EOPNOTSUPP,
			"QEMU is too old: 7.1 is needed (copy-before-write "
			"with on-cbw-error)");
		return false;
	}
	plan->method = choose(settings, plan);
	if (!check_daemon(facts, plan, error) ||
	    !check_access(facts, plan, error) ||
	    !check_job(facts, plan, error) ||
	    !check_iothreads(facts, settings, plan, error))
		return false;
	plan->max_in_flight = in_flight_limit(facts->version);
	plan->mixes_clusters = mixes_clusters(facts->version);
	plan->cbw_timeout = timeout_limit(facts, plan, settings->cbw_timeout);
	plan->build_in_pause = needs_pause(facts);
	plan->fixed_iothread = must_stay_in_thread(facts);
	plan->hold_size = may_hold_size(facts, plan);
	plan->reserve_scratch = plan->method == METHOD_JOB &&
		!job_breaks(facts->version);
	add_warnings(facts->version, plan);
	return true;
}
