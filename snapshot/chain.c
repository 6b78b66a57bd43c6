/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain.h"

#include <string.h>

#include "discover.h"
#include "exported.h"
#include "qmp-error.h"
#include "qmp-graph.h"
#include "qmp-query.h"
#include "qmp-transaction.h"

/* More layers are no backing chain but a loop. */
#define LAYERS_MAX 1000

/* What QEMU says of itself, taken at one time. */
typedef struct {
	GPtrArray *blocks; /* QmpBlock; NULL: a storage daemon */
	GPtrArray *exports; /* QmpBlockExport, of such a one */
	GPtrArray *nodes;  /* QmpNode */
	QmpGraph *graph;
	char *vm;          /* its uuid, else its name */
} Picture;

static void picture_clear(Picture *picture)
{
	g_clear_pointer(&picture->blocks, g_ptr_array_unref);
	g_clear_pointer(&picture->exports, g_ptr_array_unref);
	g_clear_pointer(&picture->nodes, g_ptr_array_unref);
	g_clear_pointer(&picture->graph, qmp_graph_free);
	g_clear_pointer(&picture->vm, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Picture, picture_clear)

/* A VM without a uuid has one of zeros, a storage daemon has none at all. */
static char *vm_identity(QmpClient *client, const char *vm, bool *daemon,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *uuid = qmp_query_uuid(client, &failure);

	*daemon = g_error_matches(failure, QMP_ERROR,
		QMP_ERROR_COMMAND_NOT_FOUND);
	if (!uuid && !*daemon) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return NULL;
	}
	return uuid && uuid[strspn(uuid, "0-")] ? g_steal_pointer(&uuid) :
						  g_strdup(vm);
}

static bool take_picture(QmpClient *client, const char *vm, Picture *picture,
	GError **error)
{
	bool daemon;

	picture->vm = vm_identity(client, vm, &daemon, error);
	if (!picture->vm)
		return false;
	if (daemon)
		picture->exports = qmp_query_block_exports(client, error);
	else
		picture->blocks = qmp_query_block(client, error);
	if (picture->blocks || picture->exports)
		picture->nodes = qmp_query_named_block_nodes(client, error);
	if (picture->nodes)
		picture->graph = qmp_query_graph(client, error);
	return picture->graph;
}

/* Nodes that hold no data of their own; bitmaps on them would be of no use
 * to anybody else. */
static bool is_filter(const QmpNode *node)
{
	static const char *const drivers[] = { "copy-before-write",
		"throttle", "copy-on-read", "compress", "preallocate",
		"blkdebug", "blklogwrites", "blkreplay", "blkverify",
		"commit_top", "mirror_top", "backup-top" };

	for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++) {
		if (g_str_equal(node->driver, drivers[i]))
			return true;
	}
	return false;
}

/* The first node from name downwards that is no filter. */
static const QmpNode *below_filters(const Picture *picture, const char *name)
{
	const QmpNode *node = qmp_node_find(picture->nodes, name);

	for (unsigned i = 0; node && is_filter(node) && i < LAYERS_MAX; i++) {
		const char *child = qmp_graph_child(picture->graph,
			node->node, "file");

		/* what a block job puts in */
		if (!child)
			child = qmp_graph_child(picture->graph, node->node,
				"backing");
		node = qmp_node_find(picture->nodes, child);
	}
	return node;
}

/* Of a checkpoint of libvirt's (domain-chain.h), which says more of it than
 * its name, and is to be deleted by libvirt alone. */
static bool is_of_libvirt(const Picture *picture, const char *name)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);
	char domain[CHECKPOINT_IDENTITY_LENGTH + 1];

	checkpoint_make_identity(picture->vm, "", domain);
	return checkpoint && g_str_equal(checkpoint->identity, domain);
}

static void add_bitmaps(ChainDisk *disk, const Picture *picture,
	const QmpNode *node, bool lower)
{
	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];
		ChainBitmap *added = is_of_libvirt(picture, bitmap->name) ?
			NULL : chain_disk_add(disk, node->node, bitmap->name);

		if (!added)
			continue;
		added->recording = bitmap->recording;
		added->inconsistent = bitmap->inconsistent;
		added->busy = bitmap->busy;
		added->lower = lower;
	}
}

static void add_layers(ChainDisk *disk, const Picture *picture,
	const QmpNode *top)
{
	const QmpNode *node = top;

	for (unsigned i = 0; node && i < LAYERS_MAX; i++) {
		add_bitmaps(disk, picture, node, node != top);
		node = below_filters(picture, qmp_graph_child(picture->graph,
			node->node, "backing"));
	}
}

/* The disk called id, whose root is node now. */
static void add_disk(GPtrArray *disks, const Picture *picture, const char *id,
	const char *node, uint64_t size, bool read_only)
{
	const QmpNode *top = below_filters(picture, node);
	ChainDisk *disk;

	if (!top)
		return;
	disk = chain_disk_new(id, top->node);
	checkpoint_make_identity(picture->vm, id, disk->identity);
	disk->size = size;
	disk->keeps = top->keeps_bitmaps;
	disk->read_only = read_only || top->read_only;
	add_layers(disk, picture, top);
	g_ptr_array_add(disks, disk);
}

static void add_devices(GPtrArray *disks, const Picture *picture)
{
	for (guint i = 0; i < picture->blocks->len; i++) {
		const QmpBlock *block = picture->blocks->pdata[i];
		g_autofree char *id = NULL;

		if (!block->inserted || !block->qdev)
			continue;
		id = discover_id(block);
		add_disk(disks, picture, id, block->node, block->size,
			block->read_only);
	}
}

static void add_exported(GPtrArray *disks, const Picture *picture)
{
	g_autoptr(GPtrArray) list = exported_list(picture->exports,
		picture->nodes, picture->graph);

	for (guint i = 0; i < list->len; i++) {
		const Exported *exported = list->pdata[i];

		add_disk(disks, picture, exported->disk->node, exported->node,
			exported->disk->size, exported->disk->read_only);
	}
}

GPtrArray *chain_read(QmpClient *client, const char *vm, GError **error)
{
	g_auto(Picture) picture = { 0 };
	GPtrArray *disks;

	if (!take_picture(client, vm, &picture, error))
		return NULL;
	disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)chain_disk_free);
	if (picture.blocks)
		add_devices(disks, &picture);
	else
		add_exported(disks, &picture);
	return disks;
}

ChainDisk *chain_find(GPtrArray *disks, const char *id)
{
	for (guint i = 0; i < disks->len; i++) {
		ChainDisk *disk = disks->pdata[i];

		if (g_str_equal(disk->id, id))
			return disk;
	}
	return NULL;
}

static void drop_pending(QmpClient *client, const char *vm,
	const QmpNode *node)
{
	for (guint i = 0; i < node->bitmaps->len; i++) {
		const QmpBitmap *bitmap = node->bitmaps->pdata[i];
		g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(
			bitmap->name);
		g_autoptr(GError) error = NULL;

		if (!checkpoint || !checkpoint->pending)
			continue;
		if (qmp_bitmap_remove(client, node->node, bitmap->name,
			    &error))
			g_message("VM %s: node %s: dropped bitmap %s, which "
				"was never committed", vm, node->node,
				bitmap->name);
		else
			g_warning("VM %s: node %s: a bitmap that was never "
				"committed stays: %s", vm, node->node,
				error->message);
	}
}

bool chain_drop_pending(QmpClient *client, const char *vm, GError **error)
{
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client,
		error);

	for (guint i = 0; nodes && i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		if (!node->read_only)
			drop_pending(client, vm, node);
	}
	return nodes;
}
