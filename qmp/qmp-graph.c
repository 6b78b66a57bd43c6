/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-graph.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-execute.h"
#include "qmp-reply.h"

#define COMMAND "x-debug-query-block-graph"

/* An entry of "nodes": a thing of the block layer, block nodes among them. */
typedef struct {
	uint64_t id;
	char *type;
	char *name;
} Vertex;

/* An entry of "edges". */
typedef struct {
	uint64_t parent;
	uint64_t child;
	char *name;
} Edge;

static void vertex_free(Vertex *vertex)
{
	g_free(vertex->type);
	g_free(vertex->name);
	g_free(vertex);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vertex, vertex_free)

static void edge_free(Edge *edge)
{
	g_free(edge->name);
	g_free(edge);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Edge, edge_free)

static gpointer parse_vertex(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(Vertex) vertex = g_new0(Vertex, 1);

	if (!qmp_reply_size(command, element, "id", &vertex->id, error) ||
		!qmp_reply_dup(command, element, "type", &vertex->type,
			error) ||
		!qmp_reply_dup(command, element, "name", &vertex->name, error))
		return NULL;
	return g_steal_pointer(&vertex);
}

static gpointer parse_edge(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(Edge) edge = g_new0(Edge, 1);

	if (!qmp_reply_size(command, element, "parent", &edge->parent,
		    error) ||
		!qmp_reply_size(command, element, "child", &edge->child,
			error) ||
		!qmp_reply_dup(command, element, "name", &edge->name, error))
		return NULL;
	return g_steal_pointer(&edge);
}

static bool is_block_node(const Vertex *vertex)
{
	return g_str_equal(vertex->type, "block-driver");
}

static const Vertex *find_name(GPtrArray *vertices, const char *name)
{
	for (guint i = 0; i < vertices->len; i++) {
		const Vertex *vertex = vertices->pdata[i];

		if (is_block_node(vertex) && g_str_equal(vertex->name, name))
			return vertex;
	}
	return NULL;
}

static const Vertex *find_id(GPtrArray *vertices, uint64_t id)
{
	for (guint i = 0; i < vertices->len; i++) {
		const Vertex *vertex = vertices->pdata[i];

		if (is_block_node(vertex) && vertex->id == id)
			return vertex;
	}
	return NULL;
}

static GPtrArray *parse_part(json_object *reply, const char *name,
	QmpParse parse, GDestroyNotify free_element, GError **error)
{
	json_object *part = qmp_reply_member(COMMAND, reply, name,
		json_type_array, error);

	return part ? qmp_reply_list(COMMAND, part, parse, free_element,
			      error) : NULL;
}

struct QmpGraph {
	GPtrArray *vertices, *edges;
};

void qmp_graph_free(QmpGraph *graph)
{
	if (!graph)
		return;
	g_clear_pointer(&graph->vertices, g_ptr_array_unref);
	g_clear_pointer(&graph->edges, g_ptr_array_unref);
	g_free(graph);
}

QmpGraph *qmp_query_graph(QmpClient *client, GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, COMMAND, NULL,
		QMP_NO_FD, error);
	g_autoptr(QmpGraph) graph = g_new0(QmpGraph, 1);

	if (!reply)
		return NULL;
	graph->vertices = parse_part(reply, "nodes", parse_vertex,
		(GDestroyNotify)vertex_free, error);
	graph->edges = graph->vertices ? parse_part(reply, "edges",
		parse_edge, (GDestroyNotify)edge_free, error) : NULL;
	return graph->edges ? g_steal_pointer(&graph) : NULL;
}

const char *qmp_graph_child(const QmpGraph *graph, const char *node,
	const char *child)
{
	const Vertex *parent = find_name(graph->vertices, node);

	for (guint i = 0; parent && i < graph->edges->len; i++) {
		const Edge *edge = graph->edges->pdata[i];
		const Vertex *found;

		if (edge->parent != parent->id ||
		    !g_str_equal(edge->name, child))
			continue;
		found = find_id(graph->vertices, edge->child);
		return found ? found->name : NULL;
	}
	return NULL;
}

const char *qmp_graph_parent(const QmpGraph *graph, const char *node)
{
	const Vertex *child = find_name(graph->vertices, node);

	for (guint i = 0; child && i < graph->edges->len; i++) {
		const Edge *edge = graph->edges->pdata[i];
		const Vertex *found = edge->child == child->id ?
			find_id(graph->vertices, edge->parent) : NULL;

		if (found)
			return found->name;
	}
	return NULL;
}

/* Adds the children of the vertices in reached that are not in it yet. */
static bool reach_further(const QmpGraph *graph, GHashTable *reached)
{
	guint before = g_hash_table_size(reached);

	for (guint i = 0; i < graph->edges->len; i++) {
		Edge *edge = graph->edges->pdata[i];

		if (g_hash_table_contains(reached, &edge->parent))
			g_hash_table_add(reached, &edge->child);
	}
	return g_hash_table_size(reached) > before;
}

/* Whether there is a way down from one vertex to the other, or they are one. */
static bool leads_to(const QmpGraph *graph, const Vertex *from,
	const Vertex *to)
{
	g_autoptr(GHashTable) reached = g_hash_table_new(g_int64_hash,
		g_int64_equal);

	g_hash_table_add(reached, (gpointer)&from->id);
	while (reach_further(graph, reached))
		;
	return g_hash_table_contains(reached, &to->id);
}

bool qmp_graph_is_below(const QmpGraph *graph, const char *node,
	const char *top)
{
	const Vertex *from = find_name(graph->vertices, top);
	const Vertex *to = find_name(graph->vertices, node);

	return from && to && from->id != to->id && leads_to(graph, from, to);
}

const char *qmp_graph_job_over(const QmpGraph *graph, const char *node)
{
	const Vertex *to = find_name(graph->vertices, node);

	for (guint i = 0; to && i < graph->vertices->len; i++) {
		const Vertex *from = graph->vertices->pdata[i];

		if (g_str_equal(from->type, "block-job") &&
		    leads_to(graph, from, to))
			return from->name;
	}
	return NULL;
}

char *qmp_query_file_child(QmpClient *client, const char *node, GError **error)
{
	g_autoptr(QmpGraph) graph = qmp_query_graph(client, error);
	const char *child;

	if (!graph)
		return NULL;
	child = qmp_graph_child(graph, node, "file");
	if (child)
		return g_strdup(child);
	fleece_set_error(error, ENOENT,
		COMMAND ": node %s has no child \"file\"", node);
	return NULL;
}
