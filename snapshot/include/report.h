/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - what a user can read about snapshots, as JSON
 *
 * The member names are described in mount.fleecefs(8).  The results are
 * freed with g_free().
 */
#pragma once

#include <glib.h>

#include "snapshot.h"
#include "vm-set.h"

/* vm.json: what a snapshot is. Fixed for its life. */
char *report_vm_json(const Snapshot *snapshot);

/* .fleecefs/status: what is going on now. */
char *report_status_json(VmSet *set);
