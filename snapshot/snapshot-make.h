/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-make.h - the beginning and the end of a Snapshot, for vm.c */
#pragma once

#include "fleece.h"
#include "snapshot.h"

/* Takes the fleece. */
Snapshot *snapshot_new_take(const char *vm, Fleece *fleece);

/* From here on it cannot be opened; false where a data file is open and force
 * is not set. */
bool snapshot_begin_release(Snapshot *snapshot, bool force);

/* Ends what is under way in every disk and closes their connections; after
 * the fleece was taken out of QEMU. */
void snapshot_end(Snapshot *snapshot);

/* What it was made of; lives as long as the Snapshot. */
const Fleece *snapshot_fleece(const Snapshot *snapshot);
