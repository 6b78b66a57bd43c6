/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-chain.h - a chain as libvirt's checkpoints
 *
 * A checkpoint of libvirt's is a bitmap of one name on several disks, and
 * that name never changes.  So what else stands in the name of each
 * disk's bitmap is in the checkpoint's description:
 *
 *   name         fleecefs.CHAIN.INSTANT.sSIZE.dIDENTITY
 *   description  fleecefs pending vda=SIZE vdb=SIZE
 *                fleecefs committed vda=SIZE:CONTENT vdb=SIZE:CONTENT
 *
 * The name's SIZE is that of all its disks together, its IDENTITY that of the
 * domain.  A commit replaces the description, which libvirt does in one step:
 * whatever dies meanwhile, the checkpoint is either pending, and is deleted
 * by whoever comes next, or committed, with bitmaps that have recorded since
 * its instant.
 *
 * Private to this folder; pure, but for domain_chain_read().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "chain-plan.h"
#include "virt-host.h"

/* A checkpoint of ours. */
typedef struct {
	char *name;
	char *chain;
	gint64 instant_ms;
	char identity[CHECKPOINT_IDENTITY_LENGTH + 1]; /* as its name has it;
					* "": it has no name yet */
	bool pending;
	GPtrArray *disks; /* DomainPart */
} DomainCheckpoint;

/* What it says of a disk. */
typedef struct {
	char *target;
	uint64_t size;
	gint64 content_ms; /* as Checkpoint has it */
} DomainPart;

/* NULL for every other checkpoint. */
DomainCheckpoint *domain_checkpoint_parse(const char *name,
	const char *description);

DomainCheckpoint *domain_checkpoint_new(const char *chain, gint64 instant_ms);
void domain_checkpoint_free(DomainCheckpoint *checkpoint);

void domain_checkpoint_add(DomainCheckpoint *checkpoint, const char *target,
	uint64_t size, gint64 content_ms);

/* Its name, once all disks were added; uuid is the domain's. */
char *domain_checkpoint_name(const DomainCheckpoint *checkpoint,
	const char *uuid);
char *domain_checkpoint_description(const DomainCheckpoint *checkpoint);

/*
 * The disk of the domain, with the part that each of checkpoints
 * (DomainCheckpoints) has on it, as chain-plan.h takes it.  A part's name is
 * that of libvirt's checkpoint.  One that was made of another domain, and is
 * in this one because somebody has cloned it, is a foreign disk's.
 */
ChainDisk *domain_chain_disk(const GPtrArray *checkpoints, const char *uuid,
	const char *target, uint64_t size);

/* The names of committed ones of chain that are no more needed beside that of
 * instant_ms, where keep (at least 1) are to stay; not owned. */
GPtrArray *domain_chain_outdated(const GPtrArray *checkpoints,
	const char *chain, gint64 instant_ms, unsigned keep);

/* All of ours that libvirt has (domain-checkpoints.c); blocks. */
GPtrArray *domain_chain_read(VirtHost *host, const char *uuid,
	GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainCheckpoint, domain_checkpoint_free)
