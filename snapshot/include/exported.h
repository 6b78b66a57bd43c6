/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exported.h - the disks of a qemu-storage-daemon
 *
 * It has no guest and no devices.  A disk is what it exports to others,
 * whatever the kind of export, and is called as its node.  A node that is
 * only a part of another is none.  Pure: what QEMU said goes in.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-graph.h"
#include "qmp-query.h"

typedef struct {
	const QmpNode *disk; /* of the nodes: whose name its user knows */
	const char *node;    /* what is exported now: the disk, or a filter of
			      * ours over it; the export's or the graph's */
	bool fuse;           /* one of its exports is a FUSE one */
} Exported;

/*
 * What the exports (QmpBlockExport) that are not ours serve, of the nodes
 * (QmpNode) of the graph, by name.  All of them have to outlive the array,
 * which frees its elements.
 */
GPtrArray *exported_list(const GPtrArray *exports, const GPtrArray *nodes,
	const QmpGraph *graph);

/* The node below that one which others may write to, past it, as it is
 * exported, too; NULL where there is none. */
const QmpNode *exported_below(const GPtrArray *list, const Exported *exported,
	const QmpGraph *graph);
