/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain-rig.h - the disks of a VM and their checkpoints, from a line of text
 *
 * "va 1 2/lower | vb,raw 2/busy/clone" is a disk va with a checkpoint of the
 * instant 1 and one of the instant 2, which is on a lower layer, and a disk
 * vb.  Behind a disk can stand:
 *
 *   raw           its format does not keep bitmaps
 *   ro            it is read-only
 *   out           it is not in the snapshot
 *
 * Behind a checkpoint, which is committed, recording and this disk's if
 * nothing else is said:
 *
 *   pending       it is not committed
 *   other         it is another chain's
 *   old-content   the disk was the same before
 *   resized       the disk had another size
 *   clone         its disk was another VM's
 *   of-DISK       its disk was that one of this VM
 *   stopped       it does not record
 *   inconsistent  and does not record either, as QEMU says of such a one
 *   busy
 *   lower         it is on a lower layer
 */
#pragma once

#include <glib.h>

#include "chain-plan.h"

#define RIG_CHAIN "nightly"
#define RIG_OTHER_CHAIN "weekly"
#define RIG_SIZE (UINT64_C(1) << 30)

/* The instant k: 2027-01-15 08:00 UTC and k milliseconds; its text, for a
 * literal digit. */
#define RIG_INSTANT(k) (G_GINT64_CONSTANT(1800000000000) + (k))
#define RIG_INSTANT_TEXT(k) "20270115T08000000" #k "Z"

/* The array of ChainDisk *, which owns them. */
GPtrArray *rig_parse(const char *text);

/* The disks as the functions under test take them. */
const ChainDisk *const *rig_disks(const GPtrArray *disks);

/* A random line of 1 to 4 disks, instants 1 to 4 on them; to be freed with
 * g_free().  No layer of a disk has an instant of a chain twice. */
char *rig_random(void);
