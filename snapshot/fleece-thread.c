/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which disks nothing can be built on where they are.
 *
 * blockdev-add drains the node that it is given.  Some drivers, and a block
 * job, need the node's own thread for that; if that is an iothread, a QEMU
 * with AioContext locks aborts (quirks.c).  A stopped guest's virtio-blk
 * devices have given their nodes back to the main thread, unless an export
 * kept the nodes from it at that time, or the driver has not started its
 * device since a reset.  virtio-scsi never gives them back.
 */
#include "fleece-build.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-block.h"
#include "qmp-error.h"
#include "qmp-graph.h"
#include "qmp-query.h"

/* Those with a bdrv_co_drain_begin() of their own, in QEMU 7.2. */
static const char *const draining[] = { "throttle", "qed", NULL };
/* More are no chain but a loop. */
#define NODES_MAX 256

static const char *driver_of(const GPtrArray *nodes, const char *name)
{
	const QmpNode *node = qmp_node_find(nodes, name);

	return node ? node->driver : "";
}

/* Whether the node, or one below it, is such a one; left is how many may be
 * looked at. */
static bool has_draining(const GPtrArray *nodes, const QmpGraph *graph,
	const char *node, unsigned *left)
{
	while (node && *left) {
		const char *backing = qmp_graph_child(graph, node, "backing");

		(*left)--;
		if (g_strv_contains(draining, driver_of(nodes, node)) ||
		    has_draining(nodes, graph, backing, left))
			return true;
		node = qmp_graph_child(graph, node, "file");
	}
	return false;
}

bool fleece_find_draining(FleeceBuild *build, GError **error)
{
	g_autoptr(GPtrArray) jobs = NULL;
	g_autoptr(GPtrArray) nodes = NULL;
	g_autoptr(QmpGraph) graph = NULL;

	if (!build->fleece->plan.build_in_pause)
		return true;
	jobs = qmp_query_jobs(build->client, error);
	nodes = jobs ? qmp_query_named_block_nodes(build->client, error) :
		       NULL;
	graph = nodes ? qmp_query_graph(build->client, error) : NULL;
	for (guint i = 0; graph && i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];
		unsigned left = NODES_MAX;

		/* whose a job is, is not said */
		disk->draining = jobs->len ||
			has_draining(nodes, graph, disk->disk->node, &left);
	}
	return graph;
}

bool fleece_check_thread(FleeceBuild *build, const BuildDisk *disk,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (!disk->draining || qmp_check_main_thread(build->client,
		    disk->disk->node, &failure))
		return true;
	if (!qmp_error_is_refusal(failure)) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	fleece_set_error(error, EBUSY,
		"it is in its iothread although the guest stands still, and "
		"there is a throttle node or a block job: this QEMU would "
		"abort.  Wait for the job; if the disk is virtio-blk, let the "
		"guest run and use it (%s)", failure->message);
	return false;
}
