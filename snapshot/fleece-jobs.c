/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs of others, which a snapshot waits for.
 *
 * A job that copies a disk sees the guest's writes by a filter above it, and
 * query-block passes one over that QEMU has named itself: it shows the node
 * below.  A filter of ours over that node takes the other's place at the
 * device.  A mirror with copy-mode=write-blocking misses all that is written
 * from then on, and the guest loses it when the job is completed.  A filter of
 * ours above the other's keeps a bitmap on that, and QEMU 7.2 aborts when the
 * job ends ("bdrv_close: Assertion `QLIST_EMPTY(&bs->dirty_bitmaps)'").  A job
 * that begins later puts its filter between ours and the disk.
 */
#include "fleece-build.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-graph.h"

bool fleece_check_jobs(FleeceBuild *build, GError **error)
{
	g_autoptr(QmpGraph) graph = qmp_query_graph(build->client, error);

	for (guint i = 0; graph && i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];
		const char *job = disk->disk->read_only ? NULL :
			qmp_graph_job_over(graph, disk->disk->node);

		if (!job)
			continue;
		fleece_set_error(error, EBUSY, "disk %s: the block job %s has "
			"it (a mirror, a backup, a commit or a stream): wait "
			"until that has ended", disk->disk->id, job);
		return false;
	}
	return graph;
}
