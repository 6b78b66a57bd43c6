/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover.h"

#include <errno.h>
#include <string.h>

#include "exported.h"
#include "fleece-error.h"
#include "qmp-graph.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "safe-name.h"

/* More is no disk but a QEMU gone wild. */
#define DISK_SIZE_MAX (UINT64_C(1) << 60)

enum device_class { DEVICE_OTHER, DEVICE_DISK, DEVICE_REFUSED };

static const struct {
	const char *type;
	enum device_class class;
} device_types[] = {
	{ "virtio-blk-device", DEVICE_DISK },
	{ "scsi-hd", DEVICE_DISK },
	{ "ide-hd", DEVICE_DISK },
	{ "nvme", DEVICE_DISK },
	{ "nvme-ns", DEVICE_DISK },
	{ "usb-storage", DEVICE_DISK },
	{ "scsi-block", DEVICE_REFUSED },
	{ "scsi-generic", DEVICE_REFUSED },
	{ "vhost-user-blk", DEVICE_REFUSED },
};

static enum device_class classify(const char *type)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(device_types); i++) {
		if (g_str_equal(type, device_types[i].type))
			return device_types[i].class;
	}
	/* virtio-blk-pci and its like, where query-block names the outer */
	if (g_str_has_prefix(type, "virtio-blk-"))
		return DEVICE_DISK;
	return DEVICE_OTHER;
}

/*
 * The id a user gave: "vd0" of "/machine/peripheral/vd0/virtio-backend"; NULL
 * for devices without one, which stand under other paths.
 */
static char *qdev_id(const char *qdev)
{
	static const char peripheral[] = "/machine/peripheral/";
	const char *id, *slash;

	if (!g_str_has_prefix(qdev, peripheral))
		return NULL;
	id = qdev + strlen(peripheral);
	slash = strchr(id, '/');
	return slash ? g_strndup(id, slash - id) : g_strdup(id);
}

static void disk_free(Disk *disk)
{
	g_free(disk->name);
	g_free(disk->id);
	g_free(disk->qdev);
	g_free(disk->type);
	g_free(disk->drive);
	g_free(disk->node);
	g_free(disk->driver);
	g_free(disk->file);
	g_free(disk);
}

char *discover_id(const QmpBlock *block)
{
	char *id = qdev_id(block->qdev);

	if (id)
		return id;
	return g_strdup(block->device[0] ? block->device : block->node);
}

static bool refuse_shared(QmpClient *client, const QmpBlock *block,
	const char *id, const char *type, GError **error)
{
	bool share_rw;

	if (classify(type) == DEVICE_REFUSED) {
		fleece_set_error(error, EOPNOTSUPP,
			"disk %s: a %s is passed through, its writes go past "
			"QEMU's block layer; leave it out with disk=", id,
			type);
		return false;
	}
	if (!qmp_qom_get_bool(client, block->qdev, "share-rw", &share_rw,
		    error))
		return false;
	if (share_rw) {
		fleece_set_error(error, EOPNOTSUPP,
			"disk %s: share-rw=on, others may write to it past "
			"this QEMU; leave it out with disk=", id);
		return false;
	}
	return true;
}

static bool check_size(const char *id, uint64_t size, GError **error)
{
	if (size <= DISK_SIZE_MAX)
		return true;
	fleece_set_error(error, EFBIG, "disk %s: QEMU tells a size of %"
		G_GUINT64_FORMAT " bytes", id, size);
	return false;
}

/* A new disk with nothing but its id, which is taken. */
static Disk *append(GPtrArray *disks, char *id, const char *name,
	GHashTable *taken)
{
	Disk *disk = g_new0(Disk, 1);

	disk->name = g_strdup(safe_name_unique(name, taken));
	disk->id = id;
	g_ptr_array_add(disks, disk);
	return disk;
}

typedef struct {
	QmpClient *client;
	const char *globs;
	GHashTable *names; /* NULL: the ids */
	GHashTable *taken;
	GPtrArray *disks;
} Search;

static const char *name_of(const Search *search, const char *id)
{
	const char *name = search->names ?
		g_hash_table_lookup(search->names, id) : NULL;

	return name ? name : id;
}

static bool add_disk(const Search *search, const QmpBlock *block,
	GError **error)
{
	g_autofree char *type = NULL;
	g_autofree char *id = NULL;
	const char *name;
	Disk *disk;

	if (!block->inserted || !block->qdev)
		return true;
	id = discover_id(block);
	name = name_of(search, id);
	if (!globs_match(search->globs, name))
		return true;
	type = qmp_qom_type(search->client, block->qdev, error);
	if (!type) {
		g_prefix_error(error, "disk %s: ", id);
		return false;
	}
	if (classify(type) == DEVICE_OTHER)
		return true;
	if (!check_size(id, block->size, error) ||
	    !refuse_shared(search->client, block, id, type, error))
		return false;
	disk = append(search->disks, g_strdup(id), name, search->taken);
	disk->qdev = g_strdup(block->qdev);
	disk->type = g_steal_pointer(&type);
	disk->drive = g_strdup(block->device);
	disk->node = g_strdup(block->node);
	disk->driver = g_strdup(block->driver);
	disk->file = g_strdup(block->file);
	disk->size = block->size;
	disk->read_only = block->read_only;
	return true;
}

static bool is_found(const GPtrArray *disks, const char *id)
{
	bool found = false;

	for (guint i = 0; i < disks->len; i++) {
		const Disk *disk = disks->pdata[i];

		found |= g_str_equal(disk->id, id);
	}
	return found;
}

/* Whoever has named it counts on it. */
static bool check_named(const Search *search, GError **error)
{
	GHashTableIter iter;
	gpointer id, name;

	if (!search->names)
		return true;
	g_hash_table_iter_init(&iter, search->names);
	while (g_hash_table_iter_next(&iter, &id, &name)) {
		if (!globs_match(search->globs, name) ||
		    is_found(search->disks, id))
			continue;
		fleece_set_error(error, EOPNOTSUPP, "disk %s: query-block "
			"shows no device %s that could be snapshot; leave it "
			"out with disk=", (char *)name, (char *)id);
		return false;
	}
	return true;
}

static GPtrArray *disk_array(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)disk_free);
}

static GHashTable *no_names(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

GPtrArray *discover_disks(QmpClient *client, const char *globs,
	GHashTable *names, GError **error)
{
	g_autoptr(GPtrArray) blocks = qmp_query_block(client, error);
	g_autoptr(GPtrArray) disks = disk_array();
	g_autoptr(GHashTable) taken = no_names();
	const Search search = { client, globs, names, taken, disks };

	if (!blocks)
		return NULL;
	for (guint i = 0; i < blocks->len; i++) {
		if (!add_disk(&search, blocks->pdata[i], error))
			return NULL;
	}
	if (!check_named(&search, error))
		return NULL;
	if (disks->len == 0) {
		fleece_set_error(error, ENOENT,
			"query-block: no %s that belongs to a device of the "
			"guest (no qdev path: drives without a device cannot "
			"be snapshot)",
			globs ? "chosen disk" : "disk");
		return NULL;
	}
	return g_steal_pointer(&disks);
}

/* --- of a storage daemon --- */

static bool check_exported(const Exported *exported, const GPtrArray *list,
	const QmpGraph *graph, const Settings *settings, QemuPlan *plan,
	GError **error)
{
	const QmpNode *disk = exported->disk;
	const QmpNode *below = exported_below(list, exported, graph);

	if (!check_size(disk->node, disk->size, error))
		return false;
	if (below) {
		fleece_set_error(error, EOPNOTSUPP, "disk %s: node %s below it "
			"is exported, too, and writes to that go past it; "
			"leave it out with disk=", disk->node, below->node);
		return false;
	}
	if (!exported->fuse || disk->read_only ||
	    quirks_fuse(settings, plan, error))
		return true;
	g_prefix_error(error, "disk %s: ", disk->node);
	return false;
}

static void add_exported(const QmpNode *node, GPtrArray *disks,
	GHashTable *taken)
{
	Disk *disk = append(disks, g_strdup(node->node), node->node,
		taken);

	disk->node = g_strdup(node->node);
	disk->driver = g_strdup(node->driver);
	disk->file = g_strdup(node->file);
	disk->size = node->size;
	disk->read_only = node->read_only;
}

GPtrArray *discover_exported(QmpClient *client, const Settings *settings,
	QemuPlan *plan, GError **error)
{
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, error);
	g_autoptr(GPtrArray) nodes = exports ?
		qmp_query_named_block_nodes(client, error) : NULL;
	g_autoptr(QmpGraph) graph = nodes ? qmp_query_graph(client, error) :
					    NULL;
	g_autoptr(GPtrArray) list = graph ?
		exported_list(exports, nodes, graph) : NULL;
	g_autoptr(GPtrArray) disks = disk_array();
	g_autoptr(GHashTable) taken = no_names();

	for (guint i = 0; list && i < list->len; i++) {
		const Exported *exported = list->pdata[i];

		if (!globs_match(settings->disks, exported->disk->node))
			continue;
		if (!check_exported(exported, list, graph, settings, plan,
			    error))
			return NULL;
		add_exported(exported->disk, disks, taken);
	}
	if (list && disks->len == 0)
		fleece_set_error(error, ENOENT, "query-block-exports: no %s "
			"that this storage daemon exports",
			settings->disks ? "chosen node" : "node");
	return disks->len ? g_steal_pointer(&disks) : NULL;
}
