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
	g_free(block->file);
	g_free(block);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpBlock, block_free)

static bool parse_inserted(QmpBlock *block, const char *command,
	json_object *inserted, GError **error)
{
	json_object *image, *file;

	block->inserted = true;
	if (!qmp_reply_dup(command, inserted, "node-name", &block->node,
		    error) ||
		!qmp_reply_dup(command, inserted, "drv", &block->driver,
			error) ||
		!qmp_reply_bool(command, inserted, "ro", &block->read_only,
			error) ||
		!qmp_reply_optional(command, inserted, "file", json_type_string,
			&file, error))
		return false;
	block->file = file ? g_strdup(json_object_get_string(file)) : NULL;
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

static void bitmap_free(QmpBitmap *bitmap)
{
	g_free(bitmap->name);
	g_free(bitmap);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpBitmap, bitmap_free)

/* "inconsistent" is there only where it is true. */
static bool parse_inconsistent(const char *command, json_object *element,
	bool *inconsistent, GError **error)
{
	json_object *value;

	if (!qmp_reply_optional(command, element, "inconsistent",
		    json_type_boolean, &value, error))
		return false;
	*inconsistent = json_object_get_boolean(value);
	return true;
}

static QmpBitmap *parse_bitmap(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpBitmap) bitmap = g_new0(QmpBitmap, 1);

	if (!qmp_reply_dup(command, element, "name", &bitmap->name, error) ||
	    !qmp_reply_bool(command, element, "recording", &bitmap->recording,
		    error) ||
	    !qmp_reply_bool(command, element, "busy", &bitmap->busy, error) ||
	    !qmp_reply_bool(command, element, "persistent",
		    &bitmap->persistent, error) ||
	    !parse_inconsistent(command, element, &bitmap->inconsistent,
		    error))
		return NULL;
	return g_steal_pointer(&bitmap);
}

/* QEMU lists its own bitmaps, too: they have no name, or an empty one. */
static bool is_named(json_object *element)
{
	json_object *name;

	return json_object_object_get_ex(element, "name", &name) &&
		json_object_get_string_len(name) > 0;
}

static bool parse_bitmaps(const char *command, json_object *element,
	GPtrArray *bitmaps, GError **error)
{
	json_object *list;

	if (!qmp_reply_optional(command, element, "dirty-bitmaps",
		    json_type_array, &list, error))
		return false;
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *entry = json_object_array_get_idx(list, i);
		QmpBitmap *bitmap;

		if (!qmp_reply_check(command, entry, "dirty-bitmaps",
			    json_type_object, error))
			return false;
		if (!is_named(entry))
			continue;
		bitmap = parse_bitmap(command, entry, error);
		if (!bitmap)
			return false;
		g_ptr_array_add(bitmaps, bitmap);
	}
	return true;
}

/* The member at the end of a path of objects; NULL where a part of the path
 * is missing or none. */
static json_object *walk(json_object *from, const char *const *path)
{
	while (from && *path) {
		json_object *next = NULL;

		if (json_object_is_type(from, json_type_object))
			json_object_object_get_ex(from, *path, &next);
		from = next;
		path++;
	}
	return from;
}

/* qcow2 is alone in storing bitmaps; version 2 (compat 0.10) has none, nor
 * has one whose data file is to be usable without it. */
static bool keeps_bitmaps(json_object *element, const char *driver)
{
	static const char *const data[] = { "image", "format-specific", "data",
		NULL };
	static const char *const version[] = { "compat", NULL };
	static const char *const raw[] = { "data-file-raw", NULL };
	json_object *specific = walk(element, data);
	json_object *compat = walk(specific, version);

	return g_str_equal(driver, "qcow2") &&
		json_object_is_type(compat, json_type_string) &&
		!g_str_equal(json_object_get_string(compat), "0.10") &&
		!json_object_get_boolean(walk(specific, raw));
}

static void parse_image(json_object *element, QmpNode *node)
{
	static const char *const file[] = { "file", NULL };
	static const char *const size[] = { "image", "virtual-size", NULL };
	json_object *name = walk(element, file);
	json_object *bytes = walk(element, size);

	if (json_object_is_type(name, json_type_string))
		node->file = g_strdup(json_object_get_string(name));
	if (json_object_is_type(bytes, json_type_int))
		node->size = MAX(json_object_get_int64(bytes), 0);
}

static void node_free(QmpNode *node)
{
	g_free(node->node);
	g_free(node->driver);
	g_free(node->file);
	g_ptr_array_unref(node->bitmaps);
	g_free(node);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpNode, node_free)

static gpointer parse_node(const char *command, json_object *element,
	GError **error)
{
	g_autoptr(QmpNode) node = g_new0(QmpNode, 1);

	node->bitmaps = g_ptr_array_new_with_free_func(
		(GDestroyNotify)bitmap_free);
	if (!qmp_reply_dup(command, element, "node-name", &node->node,
		    error) ||
		!qmp_reply_dup(command, element, "drv", &node->driver,
			error) ||
		!qmp_reply_bool(command, element, "ro", &node->read_only,
			error) ||
		!parse_bitmaps(command, element, node->bitmaps, error))
		return NULL;
	parse_image(element, node);
	node->keeps_bitmaps = keeps_bitmaps(element, node->driver);
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

const QmpNode *qmp_node_find(const GPtrArray *nodes, const char *name)
{
	for (guint i = 0; name && i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (g_str_equal(node->node, name))
			return node;
	}
	return NULL;
}

const QmpBitmap *qmp_node_bitmap(const QmpNode *node, const char *name)
{
	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];

		if (g_str_equal(bitmap->name, name))
			return bitmap;
	}
	return NULL;
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

char *qmp_query_uuid(QmpClient *client, GError **error)
{
	const char *command = "query-uuid";
	g_autoptr(json_object) reply = qmp_execute(client, command, NULL,
		QMP_NO_FD, error);
	char *uuid = NULL;

	if (reply)
		qmp_reply_dup(command, reply, "UUID", &uuid, error);
	return uuid;
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
