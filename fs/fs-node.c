/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-node.h"

#include <errno.h>
#include <string.h>

#include "map-text.h"

#define HIDDEN_NAME ".fleecefs"

/* serial << 32 | disk << 8 | kind; the fixed ones have no serial, and the
 * root is FUSE's 1. */
static fuse_ino_t make_id(enum node_kind kind, const Snapshot *snapshot,
	unsigned disk)
{
	if (!snapshot)
		return FUSE_ROOT_ID + kind;
	return (uint64_t)snapshot_serial(snapshot) << 32 |
		(uint64_t)disk << 8 | kind;
}

fuse_ino_t fs_node_disk_id(const Snapshot *snapshot, unsigned disk,
	enum node_kind kind)
{
	return make_id(kind, snapshot, disk);
}

bool fs_node_is_data(const FsNode *node)
{
	return node->kind == NODE_RAW || node->kind == NODE_DELTA;
}

static void set_node(FsNode *node, enum node_kind kind, Snapshot *snapshot,
	unsigned disk)
{
	*node = (FsNode){ make_id(kind, snapshot, disk), kind, snapshot,
		disk };
}

#define IN(view) (1u << (view))
#define EVERYWHERE (IN(VIEW_RAW) | IN(VIEW_DELTA) | IN(VIEW_ALL))

static const struct {
	enum node_kind kind;
	const char *suffix;
	unsigned views; /* in which it is there */
} disk_files[] = {
	{ NODE_RAW, ".raw", IN(VIEW_RAW) | IN(VIEW_ALL) },
	{ NODE_DELTA, ".delta", IN(VIEW_DELTA) | IN(VIEW_ALL) },
	{ NODE_DIRTY, ".dirty", EVERYWHERE },
	{ NODE_DIRTY_JSON, ".dirty.json", EVERYWHERE },
};

/* Whether the snapshot's disks have files of this kind. */
/* The files of a VM that are no disk's; some VMs lack the last ones. */
static const struct {
	enum node_kind kind;
	const char *name;
} vm_files[] = {
	{ NODE_VM_JSON, "vm.json" },
	{ NODE_DOMAIN_XML, "domain.xml" },
	{ NODE_NVRAM, "domain.nvram" },
};

static bool is_shown(const Snapshot *snapshot, enum node_kind kind)
{
	for (unsigned f = 0; f < G_N_ELEMENTS(disk_files); f++) {
		if (disk_files[f].kind == kind)
			return disk_files[f].views &
				IN(snapshot_view(snapshot));
	}
	return false;
}

static const char *text_of(const char *text, size_t *size)
{
	*size = text ? strlen(text) : 0;
	return text;
}

static const char *vm_file_content(const Snapshot *snapshot,
	enum node_kind kind, size_t *size)
{
	GBytes *nvram;

	switch (kind) {
	case NODE_VM_JSON:
		return text_of(snapshot_json(snapshot), size);
	case NODE_DOMAIN_XML:
		return text_of(snapshot_domain_xml(snapshot), size);
	case NODE_NVRAM:
		nvram = snapshot_nvram(snapshot);
		return nvram ? g_bytes_get_data(nvram, size) : NULL;
	default:
		return NULL;
	}
}

/* Whether there is such a node in a snapshot. */
static bool is_kind_of_snapshot(const Snapshot *snapshot, unsigned kind,
	unsigned disk)
{
	size_t size;

	if (kind == NODE_VM)
		return disk == 0;
	if (vm_file_content(snapshot, kind, &size))
		return disk == 0;
	return kind <= NODE_DIRTY_JSON && disk < snapshot_n_disks(snapshot) &&
		is_shown(snapshot, kind);
}

static int get_fixed(fuse_ino_t id, FsNode *node)
{
	if (id < FUSE_ROOT_ID || id > FUSE_ROOT_ID + NODE_METRICS)
		return ESTALE;
	set_node(node, id - FUSE_ROOT_ID, NULL, 0);
	return 0;
}

int fs_node_get(const Filesystem *fs, fuse_ino_t id, FsNode *node)
{
	uint32_t serial = id >> 32;
	unsigned kind = id & 0xff, disk = id >> 8 & 0xffffff;
	g_autoptr(Snapshot) snapshot = NULL;

	*node = (FsNode){ 0 };
	if (serial == 0)
		return get_fixed(id, node);
	snapshot = vm_set_by_serial(fs->set, serial);
	if (!snapshot || !is_kind_of_snapshot(snapshot, kind, disk))
		return ESTALE;
	set_node(node, kind, g_steal_pointer(&snapshot), disk);
	return 0;
}

void fs_node_of_vm_take(Snapshot *snapshot, FsNode *node)
{
	set_node(node, NODE_VM, snapshot, 0);
}

void fs_node_clear(FsNode *node)
{
	g_clear_pointer(&node->snapshot, snapshot_unref);
}

bool fs_node_is_directory(const FsNode *node)
{
	return node->kind == NODE_ROOT || node->kind == NODE_HIDDEN ||
		node->kind == NODE_VM;
}

static int lookup_root(const Filesystem *fs, const char *name, FsNode *child)
{
	Snapshot *snapshot;
	Vm *vm;

	if (g_str_equal(name, HIDDEN_NAME)) {
		set_node(child, NODE_HIDDEN, NULL, 0);
		return 0;
	}
	vm = vm_set_find(fs->set, name);
	snapshot = vm ? vm_snapshot(vm) : NULL;
	if (!snapshot)
		return ENOENT;
	fs_node_of_vm_take(snapshot, child);
	return 0;
}

static int lookup_hidden(const char *name, FsNode *child)
{
	if (g_str_equal(name, "control"))
		set_node(child, NODE_CONTROL, NULL, 0);
	else if (g_str_equal(name, "status"))
		set_node(child, NODE_STATUS, NULL, 0);
	else if (g_str_equal(name, "metrics"))
		set_node(child, NODE_METRICS, NULL, 0);
	else
		return ENOENT;
	return 0;
}

/* Whether name is that of disk with suffix. */
static bool is_disk_file(const char *name, const DiskView *disk,
	const char *suffix)
{
	const char *own = disk_view_name(disk);
	size_t length = strlen(own);

	return strncmp(name, own, length) == 0 &&
		g_str_equal(name + length, suffix);
}

static int lookup_vm(Snapshot *snapshot, const char *name, FsNode *child)
{
	for (unsigned f = 0; f < G_N_ELEMENTS(vm_files); f++) {
		size_t size;

		if (!g_str_equal(name, vm_files[f].name) ||
		    !vm_file_content(snapshot, vm_files[f].kind, &size))
			continue;
		set_node(child, vm_files[f].kind, snapshot_ref(snapshot), 0);
		return 0;
	}
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++) {
		for (unsigned f = 0; f < G_N_ELEMENTS(disk_files); f++) {
			if (!is_disk_file(name, snapshot_disk(snapshot, i),
				    disk_files[f].suffix) ||
			    !is_shown(snapshot, disk_files[f].kind))
				continue;
			set_node(child, disk_files[f].kind,
				snapshot_ref(snapshot), i);
			return 0;
		}
	}
	return ENOENT;
}

int fs_node_lookup(const Filesystem *fs, const FsNode *parent,
	const char *name, FsNode *child)
{
	*child = (FsNode){ 0 };
	switch (parent->kind) {
	case NODE_ROOT:
		return lookup_root(fs, name, child);
	case NODE_HIDDEN:
		return lookup_hidden(name, child);
	case NODE_VM:
		return lookup_vm(parent->snapshot, name, child);
	default:
		return ENOTDIR;
	}
}

/* What the kinds are called in the hash: never to be changed. */
static const char *const kind_words[] = {
	[NODE_ROOT] = "root",
	[NODE_HIDDEN] = "hidden",
	[NODE_CONTROL] = "control",
	[NODE_STATUS] = "status",
	[NODE_METRICS] = "metrics",
	[NODE_VM] = "vm",
	[NODE_VM_JSON] = "vm.json",
	[NODE_DOMAIN_XML] = "domain.xml",
	[NODE_NVRAM] = "domain.nvram",
	[NODE_RAW] = "raw",
	[NODE_DELTA] = "delta",
	[NODE_DIRTY] = "dirty",
	[NODE_DIRTY_JSON] = "dirty.json",
};

/* VM, disk and kind as one number that stays the same for ever. */
static ino_t inode_number(const FsNode *node)
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	const char *disk = "";
	const char *vm = "";
	guint8 digest[32];
	gsize length = sizeof digest;
	uint64_t number;

	if (node->snapshot)
		vm = snapshot_vm(node->snapshot);
	if (node->kind >= NODE_RAW)
		disk = disk_view_id(snapshot_disk(node->snapshot, node->disk));
	g_checksum_update(sum, (const guchar *)vm, strlen(vm) + 1);
	g_checksum_update(sum, (const guchar *)disk, strlen(disk) + 1);
	g_checksum_update(sum, (const guchar *)kind_words[node->kind], -1);
	g_checksum_get_digest(sum, digest, &length);
	memcpy(&number, digest, sizeof number);
	return number | 1 << 8;
}

static mode_t node_mode(const Filesystem *fs, const FsNode *node)
{
	if (node->kind == NODE_CONTROL)
		return S_IFREG | 0200;
	if (fs_node_is_directory(node))
		return S_IFDIR | (fs->options->allow_other ?
			0755 & ~fs->options->umask : 0700);
	if (fs_node_is_data(node) && fs->options->settings->discard)
		return S_IFREG | 0600;
	return S_IFREG | 0400;
}

static void disk_file_size(const FsNode *node, struct stat *st)
{
	const DiskView *disk = snapshot_disk(node->snapshot, node->disk);

	if (node->kind == NODE_RAW) {
		st->st_size = disk_view_size(disk);
		/* what is not empty never has 0 blocks: tar would take it
		 * for one hole */
		st->st_blocks = (disk_view_allocated(disk) + 511) / 512;
		return;
	}
	if (node->kind == NODE_DELTA) {
		st->st_size = disk_view_size(disk);
		st->st_blocks = (disk_view_dirty(disk) + 511) / 512;
		return;
	}
	st->st_size = map_text_size(disk_view_map_text(disk,
		node->kind == NODE_DIRTY ? MAP_FORMAT_MAPFILE :
					   MAP_FORMAT_JSON));
	st->st_blocks = (st->st_size + 511) / 512;
}

static struct timespec node_time(const Filesystem *fs, const FsNode *node)
{
	gint64 ms;

	if (!node->snapshot)
		return fs->mounted;
	/* tools skip a disk that has not changed */
	if (node->kind == NODE_RAW)
		ms = snapshot_chain(node->snapshot, node->disk)->content_ms;
	else
		ms = snapshot_instant(node->snapshot);
	return (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
}

const char *fs_node_content(const FsNode *node, size_t *size)
{
	return node->snapshot ?
		vm_file_content(node->snapshot, node->kind, size) : NULL;
}

void fs_node_stat(const Filesystem *fs, const FsNode *node, struct stat *st)
{
	size_t size;

	*st = (struct stat){
		.st_ino = node->kind == NODE_ROOT ? FUSE_ROOT_ID :
						    inode_number(node),
		.st_mode = node_mode(fs, node),
		.st_nlink = fs_node_is_directory(node) ? 2 : 1,
		.st_uid = fs->options->uid,
		.st_gid = fs->options->gid,
		.st_blksize = FLEECE_CLUSTER,
	};
	st->st_atim = st->st_mtim = st->st_ctim = node_time(fs, node);
	if (node->kind >= NODE_RAW) {
		disk_file_size(node, st);
	} else if (fs_node_content(node, &size)) {
		st->st_size = size;
		st->st_blocks = (st->st_size + 511) / 512;
	}
}

static void list_root(const Filesystem *fs, FsNodeVisit *visit, void *opaque)
{
	g_autoptr(GPtrArray) vms = vm_set_list(fs->set);

	for (guint i = 0; i < vms->len; i++) {
		Snapshot *snapshot = vm_snapshot(vms->pdata[i]);
		g_auto(FsNode) node = { 0 };

		if (!snapshot)
			continue;
		fs_node_of_vm_take(snapshot, &node);
		visit(opaque, vm_name(vms->pdata[i]), &node);
	}
}

static void list_disk(const FsNode *vm, unsigned disk, FsNodeVisit *visit,
	void *opaque)
{
	const char *name = disk_view_name(snapshot_disk(vm->snapshot, disk));

	for (unsigned f = 0; f < G_N_ELEMENTS(disk_files); f++) {
		g_autofree char *file = g_strconcat(name,
			disk_files[f].suffix, NULL);
		FsNode node;

		if (!is_shown(vm->snapshot, disk_files[f].kind))
			continue;
		set_node(&node, disk_files[f].kind, vm->snapshot, disk);
		visit(opaque, file, &node);
	}
}

static void list_vm(const FsNode *vm, FsNodeVisit *visit, void *opaque)
{
	for (unsigned i = 0; i < snapshot_n_disks(vm->snapshot); i++)
		list_disk(vm, i, visit, opaque);
	for (unsigned f = 0; f < G_N_ELEMENTS(vm_files); f++) {
		FsNode file;
		size_t size;

		set_node(&file, vm_files[f].kind, vm->snapshot, 0);
		if (fs_node_content(&file, &size))
			visit(opaque, vm_files[f].name, &file);
	}
}

static void list_hidden(FsNodeVisit *visit, void *opaque)
{
	FsNode node;

	set_node(&node, NODE_CONTROL, NULL, 0);
	visit(opaque, "control", &node);
	set_node(&node, NODE_STATUS, NULL, 0);
	visit(opaque, "status", &node);
	set_node(&node, NODE_METRICS, NULL, 0);
	visit(opaque, "metrics", &node);
}

void fs_node_list(const Filesystem *fs, const FsNode *directory,
	FsNodeVisit *visit, void *opaque)
{
	if (directory->kind == NODE_ROOT)
		list_root(fs, visit, opaque);
	else if (directory->kind == NODE_HIDDEN)
		list_hidden(visit, opaque);
	else if (directory->kind == NODE_VM)
		list_vm(directory, visit, opaque);
}
