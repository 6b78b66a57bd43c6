/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exported.h"

#include <string.h>

#include "owner.h"

/* More are no filters of ours but a loop. */
#define FILTERS_MAX 4

static bool is_ours(const char *name)
{
	return g_str_has_prefix(name, FLEECE_PREFIX);
}

/* NULL for what the graph does not explain. */
static const QmpNode *below_ours(const GPtrArray *nodes, const QmpGraph *graph,
	const char *name)
{
	for (unsigned i = 0; name && is_ours(name) && i < FILTERS_MAX; i++)
		name = qmp_graph_child(graph, name, "file");
	return name && !is_ours(name) ? qmp_node_find(nodes, name) : NULL;
}

static Exported *find(const GPtrArray *list, const QmpNode *disk)
{
	for (guint i = 0; i < list->len; i++) {
		Exported *exported = list->pdata[i];

		if (exported->disk == disk)
			return exported;
	}
	return NULL;
}

static void add(GPtrArray *list, const QmpNode *disk,
	const QmpBlockExport *export)
{
	Exported *exported = find(list, disk);

	if (!exported) {
		exported = g_new0(Exported, 1);
		exported->disk = disk;
		exported->node = export->node;
		g_ptr_array_add(list, exported);
	}
	exported->fuse |= g_str_equal(export->type, "fuse");
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp((*(Exported *const *)a)->disk->node,
		(*(Exported *const *)b)->disk->node);
}

GPtrArray *exported_list(const GPtrArray *exports, const GPtrArray *nodes,
	const QmpGraph *graph)
{
	GPtrArray *list = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < exports->len; i++) {
		const QmpBlockExport *export = exports->pdata[i];
		const QmpNode *disk = export->leaving || is_ours(export->id) ?
			NULL : below_ours(nodes, graph, export->node);

		if (disk)
			add(list, disk, export);
	}
	g_ptr_array_sort(list, compare_names);
	return list;
}

const QmpNode *exported_below(const GPtrArray *list, const Exported *exported,
	const QmpGraph *graph)
{
	for (guint i = 0; i < list->len; i++) {
		const Exported *other = list->pdata[i];

		if (!other->disk->read_only &&
		    qmp_graph_is_below(graph, other->disk->node,
			    exported->disk->node))
			return other->disk;
	}
	return NULL;
}
