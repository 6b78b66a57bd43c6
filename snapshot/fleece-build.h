/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fleece-build.h - what the steps of a set-up share
 *
 * fleece.c prepares, fleece-point.c makes the instant, fleece-export.c shows
 * it; fleece-chain.c does what belongs to a chain, fleece-freeze.c what
 * belongs to the guest's filesystems, fleece-thread.c what to iothreads,
 * fleece-access.c what to Proxmox VE's QEMU, fleece-jobs.c what to block jobs.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "agent.h"
#include "chain-plan.h"
#include "discover.h"
#include "disk-chain.h"
#include "disk-view.h"
#include "fleece.h"
#include "owner.h"
#include "qmp-client.h"
#include "qmp-transaction.h"

/* One disk under construction. */
typedef struct {
	const Disk *disk;  /* in FleeceBuild.found */
	unsigned number;
	DiskView *view;    /* in Fleece.disks */
	int scratch_fd;    /* the view's; -1: read-only, nothing above it */
	char *scratch, *filter, *access, *job; /* node names and job id */
	char *scratch_file; /* the node below the scratch; NULL: it is nobody's
			     * business */
	char *export;      /* export id, and its name on the wire */
	bool draining;     /* a drain of it needs the thread that it is in */
	DiskChain *part;   /* in Fleece.chains */
	ChainDisk *facts;  /* in FleeceBuild.chain; NULL without a chain */
	const ChainBitmap *base; /* of facts; NULL where the disk is full */
} BuildDisk;

typedef struct {
	const FleeceRequest *request;
	QmpClient *client;
	Owner *owner;       /* our note */
	GPtrArray *found;   /* Disks */
	GPtrArray *disks;   /* BuildDisks */
	GPtrArray *chain;   /* ChainDisks of the VM; NULL without a chain */
	unsigned connections; /* NBD connections a disk */
	char *directory;    /* of the NBD socket; NULL once it is gone */
	unsigned directory_undo;
	gint64 pause_ends;  /* monotonic us; 0: we have stopped nobody */
	Agent *agent;       /* NULL where we do not freeze */
	gint64 frozen_since; /* monotonic us */
	gint64 freeze_ends; /* the same; 0: we have frozen nobody */
	unsigned freeze_undo; /* 0: none that we still have to see to */
	Fleece *fleece;
} FleeceBuild;

/* EBUSY where a guest of that status runs, or may run, in another QEMU. */
bool fleece_check_here(const char *status, GError **error);

/* EBUSY where a block job has one of the disks that are written to.  One that
 * begins after the filters are there does no harm. */
bool fleece_check_jobs(FleeceBuild *build, GError **error);

/* Finds out which disks are draining, where that is of interest. */
bool fleece_find_draining(FleeceBuild *build, GError **error);

/* While the guest stands still: EBUSY where nothing can be built on the disk,
 * for QEMU would abort. */
bool fleece_check_thread(FleeceBuild *build, const BuildDisk *disk,
	GError **error);

/*
 * With METHOD_ACCESS the scratch node bears the name that QEMU looks for, so
 * that the one below it has to be what tells whose it is.  Gives them these
 * names.  EBUSY where somebody has a node of that name already, EOPNOTSUPP
 * where QEMU cannot be asked for these disks.  Does nothing for the other
 * methods.
 */
bool fleece_access_plan(FleeceBuild *build, GError **error);

/* Has QEMU put its filters over the disks, and snapshot-access above them.
 * EBUSY while a backup is running. */
bool fleece_access_set_up(FleeceBuild *build, GError **error);

/* Registers what is about to be made. */
bool fleece_build_undo(FleeceBuild *build, enum undo_kind kind, const char *a,
	GError **error);

/* Runs the step for each disk, in QEMU's order, until one fails: the message
 * names it. */
typedef bool BuildStep(FleeceBuild *build, BuildDisk *disk, GError **error);
bool fleece_build_each(FleeceBuild *build, BuildStep *step, GError **error);

/*
 * The instant, and the snapshot-access nodes that show it: from its return on
 * guest writes to any of the disks save the old block first.  Sets the
 * fleece's instant_ms and pause_us.
 */
bool fleece_point(FleeceBuild *build, GError **error);

/*
 * The guest's filesystems, as the settings say.  All that can be prepared has
 * to be: the guest's writes wait from fleece_freeze() to fleece_thaw().
 *
 * fleece_freeze() asks the agent and freezes; with FREEZE_TRY it succeeds
 * also where it did not.  fleece_thaw() waits until the agent has answered,
 * or for settings->timeout_ms; the owner's note has to be renewed then.
 *
 * Where something fails in between, the undo list thaws: call
 * fleece_extend_freeze() before it is run, which gives the agent's socket
 * back and the guardian another limit.
 */
bool fleece_freeze(FleeceBuild *build, GError **error);
bool fleece_thaw(FleeceBuild *build, GError **error);
void fleece_extend_freeze(FleeceBuild *build);

/* Runs the thaw that is left in the undo list again and again, for
 * settings->timeout_ms. */
bool fleece_insist_on_thaw(FleeceBuild *build, GError **error);

/*
 * The chain's part.  A write may come between any two commands, even while the
 * guest is stopped: a block job, an NBD client and a monitor write without it.
 * So what is pending records before the instant, and what the base holds is
 * copied after it: a block is in both increments rather than in none.
 */

/* Reads the checkpoints and decides what is incremental; changes nothing in
 * QEMU.  Sets the fleece's chains. */
bool fleece_chain_plan(FleeceBuild *build, GError **error);

/* Deletes bitmaps that can be of no use any more. */
bool fleece_chain_clean(FleeceBuild *build, GError **error);

/* Settles the instant and registers the undo of what it makes pending. */
bool fleece_chain_begin(FleeceBuild *build, GError **error);

/* Adds the actions to a transaction that is run before the instant: begin to
 * record.  A filter that is limited to a copy of the base reads it when it is
 * made, so that copy is made here. */
void fleece_chain_before(FleeceBuild *build, QmpTransaction *transaction);

/* The same, after the instant: copy what the base recorded.  What came into
 * it since a limited filter was made cannot be read through that, so that the
 * set-up fails. */
void fleece_chain_after(FleeceBuild *build, QmpTransaction *transaction);

/* That copy: its name on the scratch node and as a metadata context; NULL
 * where the disk is full. */
const char *fleece_chain_bitmap(const BuildDisk *disk);
const char *fleece_chain_context(const BuildDisk *disk);

/* The disk's maps have been read. */
void fleece_chain_shown(const BuildDisk *disk);

/* Starts QEMU's NBD server, on a socket in a directory of our own. */
bool fleece_serve(FleeceBuild *build, GError **error);

/*
 * Exports each disk at the instant, connects to it, reads its maps and gives
 * all to its view, which is attached then.  The directory is gone afterwards:
 * nobody else connects.
 */
bool fleece_export(FleeceBuild *build, GError **error);
