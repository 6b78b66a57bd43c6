/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot.h - one VM at one instant, for as long as anybody looks at it
 *
 * Reference counted: an open file keeps its Snapshot, whatever becomes of the
 * fleece behind it.  A Snapshot never comes back: the next one of the same VM
 * is another, with another serial number, so an old descriptor can never show
 * new bytes, nor a new one old bytes.
 *
 * Any thread may call.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "disk-chain.h"
#include "disk-view.h"
#include "settings.h"

typedef struct Snapshot Snapshot;

enum snapshot_state {
	SNAPSHOT_LIVE,
	SNAPSHOT_BROKEN,   /* QEMU gave it up for the guest's sake */
	SNAPSHOT_GONE,     /* QEMU died or does not answer */
	SNAPSHOT_RELEASED, /* ended by us */
};

const char *snapshot_state_to_text(enum snapshot_state state);

Snapshot *snapshot_ref(Snapshot *snapshot);
void snapshot_unref(Snapshot *snapshot);

/* Unique in this process, never used again, never 0. */
uint32_t snapshot_serial(const Snapshot *snapshot);

const char *snapshot_vm(const Snapshot *snapshot);

/* UTC milliseconds since 1970. */
gint64 snapshot_instant(const Snapshot *snapshot);

/* "20261120T234501123Z": the last three digits are milliseconds. */
const char *snapshot_instant_text(const Snapshot *snapshot);

unsigned snapshot_n_disks(const Snapshot *snapshot);
DiskView *snapshot_disk(const Snapshot *snapshot, unsigned index);
const DiskChain *snapshot_chain(const Snapshot *snapshot, unsigned index);

/* Which files its disks have. */
enum view snapshot_view(const Snapshot *snapshot);

/* The text of vm.json. */
const char *snapshot_json(const Snapshot *snapshot);

/* What domain.nvram has in it, the snapshot's; NULL where there is none. */
GBytes *snapshot_nvram(const Snapshot *snapshot);

/* The text of domain.xml; NULL where libvirt does not run it. */
const char *snapshot_domain_xml(const Snapshot *snapshot);

/* *why, unless NULL, becomes a text to free, or NULL where it is live. */
enum snapshot_state snapshot_get_state(Snapshot *snapshot, char **why);

/* Whether its checkpoint was committed. */
bool snapshot_is_committed(Snapshot *snapshot);

/* Bytes of scratch in use now, by all disks. */
uint64_t snapshot_scratch(Snapshot *snapshot);

/* Counts a data file that is opened; false where it is released. */
bool snapshot_open(Snapshot *snapshot);
void snapshot_close(Snapshot *snapshot);

/* Waits a moment for files to be closed: the kernel says it only after
 * close(2) has returned, and perhaps after what the closer did next. */
void snapshot_wait_closed(Snapshot *snapshot);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Snapshot, snapshot_unref)
