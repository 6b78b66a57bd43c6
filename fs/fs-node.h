/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs-node.h - names and numbers in the mount
 *
 * A FUSE node id says all about its node: a few fixed ones, and for
 * everything in a VM's directory the serial number of the snapshot, the disk
 * and the kind of file.  Serial numbers are never used twice, so neither are
 * node ids, and no table has to be kept: forgetting a node is nothing.  An id
 * whose snapshot is no more is ESTALE.
 *
 * st_ino is another number: a hash of VM, disk and kind, the same at every
 * mount, so that backup tools know a file again.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include <fuse_lowlevel.h>

#include "filesystem.h"
#include "snapshot.h"

enum node_kind {
	NODE_ROOT,
	NODE_HIDDEN,  /* .fleecefs */
	NODE_CONTROL,
	NODE_STATUS,
	NODE_METRICS,
	NODE_VM,      /* a VM's directory */
	NODE_VM_JSON,
	NODE_DOMAIN_XML, /* only where libvirt runs the VM */
	NODE_NVRAM,      /* the same, if it has any */
	NODE_RAW,
	NODE_DELTA,
	NODE_DIRTY,
	NODE_DIRTY_JSON,
};

typedef struct {
	fuse_ino_t id;
	enum node_kind kind;
	Snapshot *snapshot; /* referenced; NULL for the fixed ones */
	unsigned disk;      /* of the last four kinds */
} FsNode;

/* 0, or ESTALE where the id's snapshot does not stand any more, or where
 * there never was such an id. */
int fs_node_get(const Filesystem *fs, fuse_ino_t id, FsNode *node);

/* 0, or ENOENT, ENOTDIR. */
int fs_node_lookup(const Filesystem *fs, const FsNode *parent,
	const char *name, FsNode *child);

/* The directory of a snapshot; takes the reference. */
void fs_node_of_vm_take(Snapshot *snapshot, FsNode *node);

/* The node id of a disk's file of this kind. */
fuse_ino_t fs_node_disk_id(const Snapshot *snapshot, unsigned disk,
	enum node_kind kind);

/* What a file of a VM that is no disk's has in it, the snapshot's, and how
 * much that is; NULL for any other node. */
const char *fs_node_content(const FsNode *node, size_t *size);

/* Whether it is one of the files with a disk's bytes. */
bool fs_node_is_data(const FsNode *node);

void fs_node_clear(FsNode *node);

bool fs_node_is_directory(const FsNode *node);

void fs_node_stat(const Filesystem *fs, const FsNode *node, struct stat *st);

/* What a directory lists: nodes with their names, "." and ".." not. */
typedef void FsNodeVisit(void *opaque, const char *name, const FsNode *child);
void fs_node_list(const Filesystem *fs, const FsNode *directory,
	FsNodeVisit *visit, void *opaque);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FsNode, fs_node_clear)
