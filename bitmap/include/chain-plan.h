/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain-plan.h - from the bitmaps that there are, what an increment is
 *
 * A chain is what successive backups of a VM build on.  Every bitmap of it
 * records from its birth until it is deleted.  A snapshot adds one that is
 * pending; a commit makes it committed and deletes what is older than is to
 * be kept; a release deletes what is pending.  The base of an increment is a
 * committed checkpoint, by default the chain's newest over all disks of the
 * VM: a disk that lacks it, or whose bitmap cannot be trusted, is copied in
 * full, and the others are not.
 *
 * Pure: facts in, decisions out.  No lock: a plan belongs to its caller.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "checkpoint.h"

/* A checkpoint as it is in QEMU. */
typedef struct {
	char *name;
	char *node;         /* the node that has it */
	Checkpoint *checkpoint;
	bool recording;
	bool inconsistent;  /* QEMU died with it: can only be removed */
	bool busy;          /* somebody exports or merges it */
	bool lower;         /* on a layer below the one that is written to:
			     * an external snapshot left it there */
} ChainBitmap;

/* A disk of the VM, and every checkpoint of any chain on it. */
typedef struct {
	char *id;           /* what QEMU and its user call it */
	char *node;         /* where its bitmaps are: the first node below
			     * its root that is no filter */
	char identity[CHECKPOINT_IDENTITY_LENGTH + 1];
	uint64_t size;      /* bytes */
	bool keeps;         /* its format keeps bitmaps over a restart */
	bool read_only;
	bool chosen;        /* it is in the snapshot */
	GPtrArray *bitmaps; /* ChainBitmap, owned */
} ChainDisk;

ChainDisk *chain_disk_new(const char *id, const char *node);
void chain_disk_free(ChainDisk *disk);

/* Adds the bitmap if its name is a checkpoint's; NULL if not.  The result,
 * whose flags are still to be set, belongs to the disk. */
ChainBitmap *chain_disk_add(ChainDisk *disk, const char *node,
	const char *name);

typedef struct {
	const char *chain;
	gint64 since_ms;    /* the base that is wanted; 0: the newest */
	bool fallback_full; /* where no disk has that: full, no error */
	unsigned keep;      /* how many committed ones a commit leaves */
} ChainWish;

/* What a disk's increment relates to. */
typedef struct {
	const ChainBitmap *base; /* the disk's; NULL: the disk is full */
	const char *reason;      /* why it is full, static, a word of
				  * mount.fleecefs(8); NULL where it is not */
} ChainBase;

/*
 * Decides for each of n disks; bases has as many.  ENOENT, with the
 * checkpoints that there are in the message, where no chosen disk can start
 * from since_ms and that is not to fall back.
 */
bool chain_plan_bases(const ChainWish *wish, const ChainDisk *const *disks,
	size_t n, ChainBase *bases, GError **error);

/* Why no increment can start from this bitmap, as a reason; NULL where one
 * can, or could once it is committed. */
const char *chain_plan_distrust(const ChainDisk *disk,
	const ChainBitmap *bitmap);

/*
 * The instant of a checkpoint made at now_ms: behind every other of the
 * chain, also where the clock went back.  EOVERFLOW where nothing can be.
 */
bool chain_plan_instant(const char *chain, const ChainDisk *const *disks,
	size_t n, gint64 now_ms, gint64 *instant_ms, GError **error);

/* Names of the disk's bitmaps, in an array that owns them: */

/* Committed ones that are inconsistent: of no use, and they cannot be deleted
 * in a transaction.  Of a read-only disk there is nothing to delete. */
GPtrArray *chain_plan_broken(const char *chain, const ChainDisk *disk);

/* Those that go when the checkpoint of instant_ms is committed. */
GPtrArray *chain_plan_outdated(const ChainWish *wish, const ChainDisk *disk,
	gint64 instant_ms);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ChainDisk, chain_disk_free)
