/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-make.h - the beginning and the end of a Snapshot, for vm.c */
#pragma once

#include "fleece.h"
#include "snapshot.h"

/* Takes the fleece. */
Snapshot *snapshot_new_take(const char *vm, Fleece *fleece);

/*
 * 0 where everything that was read of it was right, so that a copy may be
 * relied upon; else the errno, with *why, static.  EBUSY where a data file is
 * open and force is not set.  Asks QEMU whether the snapshot still holds:
 * blocks.
 */
int snapshot_check_whole(Snapshot *snapshot, bool force, const char **why);

/* Gives it up for the reason why: reads end with ESTALE. */
void snapshot_break(Snapshot *snapshot, const char *why);

/* True once for a snapshot that broke: the caller takes it out of QEMU, or
 * says that it cannot yet, which returns whether it says so for the first
 * time. */
bool snapshot_begin_break(Snapshot *snapshot);
bool snapshot_cancel_break(Snapshot *snapshot);

/* Looks whether its scratch has failed: then it is broken. */
void snapshot_check_scratch(Snapshot *snapshot);

/* How many bytes of scratch it takes on another machine, as far as known. */
void snapshot_set_remote_scratch(Snapshot *snapshot, uint64_t used);

void snapshot_set_committed(Snapshot *snapshot);

/* From here on it cannot be opened; false where a data file is open and force
 * is not set. */
bool snapshot_begin_release(Snapshot *snapshot, bool force);

/* Ends what is under way in every disk and closes their connections and
 * scratch; after the fleece was taken out of QEMU, or, where it was not taken
 * out, with leave_scratch. */
void snapshot_end(Snapshot *snapshot, bool leave_scratch);

/* What it was made of; lives as long as the Snapshot. */
const Fleece *snapshot_fleece(const Snapshot *snapshot);
