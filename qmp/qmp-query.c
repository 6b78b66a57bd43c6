/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-query.h"

#include "qmp-execute.h"
#include "qmp-reply.h"

static GPtrArray *query_list(QmpClient *client, const char *command,
	json_object *arguments, QmpParse parse, GDestroyNotify free_element,
	GError **error)
{
	g_autoptr(json_object) reply = qmp_execute(client, command, arguments,
		QMP_NO_FD, error);

	return reply ? qmp_reply_list(command, reply, parse, free_element,
			       error) : NULL;
}

static void block_free(QmpBlock *block)
{
	g_free(block->device);
	g_free(block->qdev);
	g_free(block->node);
	g_free(block->driver);
	g_free(block);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpBlock, block_free)

static bool parse_inserted(QmpBlock *block, const char *command,
	json_object *inserted, GError **error)
{
	json_object *image;

	block->inserted = true;
	if (!qmp_reply_dup(command, inserted, "node-name", &block->node,
		    error) ||
		!qmp_reply_dup(command, inserted, "drv", &block->driver,
			error) ||
		!qmp_reply_bool(command, inserted, "ro", &block->read_only,
			error))
		return false;
	image = qmp_reply_member(command, inserted, "image", json_type_object,
		error);
	return image && qmp_reply_size(command, image, "virtual-size",
			&block->size, error);
}

/*
 * A device with an id is reported by its id alone, and QEMU does not find
 * that where something else is called so too, as the bus of an nvme is.
 */
static char *qdev_path(const char *qdev)
{
	if (qdev[0] == '/')
		return g_strdup(qdev);
	return g_strconcat("/machine/peripheral/", qdev, NULL);
}

static gpointer parse_block(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpBlock) block = g_new0(QmpBlock, 1);
	json_object *qdev, *inserted;

	if (!qmp_reply_dup(command, element, "device", &block->device,
		    error) ||
		!qmp_reply_bool(command, element, "removable",
			&block->removable, error) ||
		!qmp_reply_optional(command, element, "qdev", json_type_string,
			&qdev, error) ||
		!qmp_reply_optional(command, element, "inserted",
			json_type_object, &inserted, error))
		return NULL;
	if (qdev)
		block->qdev = qdev_path(json_object_get_string(qdev));
	if (inserted && !parse_inserted(block, command, inserted, error))
		return NULL;
	return g_steal_pointer(&block);
}

GPtrArray *qmp_query_block(QmpClient *client, GError **error)
{
	return query_list(client, "query-block", NULL, parse_block,
		(GDestroyNotify)block_free, error);
}

static void node_free(QmpNode *node)
{
	g_free(node->node);
	g_free(node->driver);
	g_free(node);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpNode, node_free)

static gpointer parse_node(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpNode) node = g_new0(QmpNode, 1);

	if (!qmp_reply_dup(command, element, "node-name", &node->node,
		    error) ||
		!qmp_reply_dup(command, element, "drv", &node->driver,
			error) ||
		!qmp_reply_bool(command, element, "ro", &node->read_only,
			error))
		return NULL;
	return g_steal_pointer(&node);
}

GPtrArray *qmp_query_named_block_nodes(QmpClient *client, GError **error)
{
	json_object *arguments = json_object_new_object();

	/* Else every node repeats what stands under it. */
	json_object_object_add(arguments, "flat",
		json_object_new_boolean(true));
	return query_list(client, "query-named-block-nodes", arguments,
		parse_node, (GDestroyNotify)node_free, error);
}

static void export_free(QmpBlockExport *block_export)
{
	g_free(block_export->id);
	g_free(block_export->type);
	g_free(block_export->node);
	g_free(block_export);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpBlockExport, export_free)

static gpointer parse_export(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpBlockExport) parsed = g_new0(QmpBlockExport, 1);

	if (!qmp_reply_dup(command, element, "id", &parsed->id, error) ||
		!qmp_reply_dup(command, element, "type", &parsed->type,
			error) ||
		!qmp_reply_dup(command, element, "node-name", &parsed->node,
			error) ||
		!qmp_reply_bool(command, element, "shutting-down",
			&parsed->leaving, error))
		return NULL;
	return g_steal_pointer(&parsed);
}

GPtrArray *qmp_query_block_exports(QmpClient *client, GError **error)
{
	return query_list(client, "query-block-exports", NULL, parse_export,
		(GDestroyNotify)export_free, error);
}

static void job_free(QmpJob *job)
{
	g_free(job->id);
	g_free(job->type);
	g_free(job->status);
	g_free(job);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpJob, job_free)

static gpointer parse_job(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpJob) job = g_new0(QmpJob, 1);

	if (!qmp_reply_dup(command, element, "id", &job->id, error) ||
		!qmp_reply_dup(command, element, "type", &job->type, error) ||
		!qmp_reply_dup(command, element, "status", &job->status,
			error))
		return NULL;
	return g_steal_pointer(&job);
}

GPtrArray *qmp_query_jobs(QmpClient *client, GError **error)
{
	return query_list(client, "query-jobs", NULL, parse_job,
		(GDestroyNotify)job_free, error);
}

static gpointer parse_iothread(const char *command, json_object *element,
	GError **error)
{
	/* Only their number matters. */
	return qmp_reply_check(command, element, "return", json_type_object,
		       error) ? element : NULL;
}

int qmp_query_iothreads(QmpClient *client, GError **error)
{
	g_autoptr(GPtrArray) iothreads = query_list(client, "query-iothreads",
		NULL, parse_iothread, NULL, error);

	return iothreads ? (int)iothreads->len : -1;
}

bool qmp_query_status(QmpClient *client, bool *running, char **status,
	GError **error)
{
	const char *command = "query-status", *state;
	g_autoptr(json_object) reply = qmp_execute(client, command, NULL,
		QMP_NO_FD, error);

	if (!reply || !qmp_reply_bool(command, reply, "running", running,
			      error))
		return false;
	state = qmp_reply_string(command, reply, "status", error);
	if (state && status)
		*status = g_strdup(state);
	return state;
}
