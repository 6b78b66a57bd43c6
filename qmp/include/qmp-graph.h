/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-graph.h - which block node stands on which
 *
 * From x-debug-query-block-graph, which QEMU does not promise to keep; there
 * is no other way to ask before QEMU 10.1.  Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

typedef struct QmpGraph QmpGraph;

/* The graph as it is now; it never changes. */
QmpGraph *qmp_query_graph(QmpClient *client, GError **error);
void qmp_graph_free(QmpGraph *graph);

/* The node that is the child ("file", "backing") of node; the graph's.  NULL
 * where there is none. */
const char *qmp_graph_child(const QmpGraph *graph, const char *node,
	const char *child);

/* A node that stands directly on node; the graph's.  NULL where there is
 * none: devices, exports and jobs are no nodes. */
const char *qmp_graph_parent(const QmpGraph *graph, const char *node);

/* Whether the first node stands somewhere below the second. */
bool qmp_graph_is_below(const QmpGraph *graph, const char *node,
	const char *top);

/* The id of a block job that has the node, or one above it, in its hands; the
 * graph's.  NULL where there is none. */
const char *qmp_graph_job_over(const QmpGraph *graph, const char *node);

/*
 * The node that is the child "file" of node now: an external snapshot taken
 * meanwhile slides under a filter.  FLEECE_ERROR with ENOENT where the graph
 * has no such edge.  Free the result with g_free().
 */
char *qmp_query_file_child(QmpClient *client, const char *node,
	GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpGraph, qmp_graph_free)
