/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm-set.h - all VMs of a mount, and the workers that act on them
 *
 * The control path: whatever talks QMP runs on one of a few worker threads,
 * VMs side by side, and says in a completion how it went.  All functions
 * return at once from any thread unless said otherwise.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "guardian.h"
#include "source.h"
#include "vm.h"

typedef struct VmSet VmSet;

/* Takes the source and the guardian; starts the NBD loops and the watch over
 * scratch.  settings, the mount's own, outlive it. */
VmSet *vm_set_new_take(Source *source, Guardian *guardian,
	const Settings *settings, GError **error);

/* Releases every snapshot, by force, and waits; then frees.  Blocks. */
void vm_set_free(VmSet *set);

const char *vm_set_spec(const VmSet *set);

/* Whether programs are run to get to its VMs. */
bool vm_set_runs_programs(const VmSet *set);

Guardian *vm_set_guardian(const VmSet *set);

/*
 * Takes a snapshot of every VM of the source, side by side, and waits.
 * Returns how many stand.  With strict, or where none stands, any failure
 * fails the whole, also that a group cannot be looked at: 0 with the first
 * error, and nothing stands.  Else failures are logged.  ENOENT where the
 * source has no VM.  Blocks.
 */
unsigned vm_set_take_all(VmSet *set, bool strict, GError **error);

/* The VM of this name, or NULL.  A directory is looked at again for a name
 * not yet known.  It lives as long as the set. */
Vm *vm_set_find(VmSet *set, const char *name);

/* Looks again which VMs the source has; false, with the first error, where not
 * all of it can be looked at. */
bool vm_set_refresh(VmSet *set, GError **error);

/*
 * The VMs that the source had at the last look, and those with a snapshot,
 * sorted by name; the array does not own them.
 */
GPtrArray *vm_set_list(VmSet *set);

/* What of the source could not be looked at then, and why: texts, freed with
 * the array. */
GPtrArray *vm_set_unreachable(VmSet *set);

/* The standing snapshot with this serial number, referenced, or NULL. */
Snapshot *vm_set_by_serial(VmSet *set, uint32_t serial);

enum vm_verb { VM_TAKE, VM_COMMIT, VM_RELEASE, VM_BREAK };

/* Called from a worker; error is NULL where it went well, and freed behind
 * it. */
typedef void VmDone(void *opaque, const GError *error);

/* Logs how much scratch may come to be needed. */
void vm_set_say_scratch(VmSet *set);

/* How much scratch there may be in all and how much is left, in bytes; both
 * are 0 where no VM needs any. */
void vm_set_scratch_space(VmSet *set, uint64_t *total, uint64_t *left);

/* Has verb done on vm by a worker; force is for VM_COMMIT and
 * VM_RELEASE. */
void vm_set_submit(VmSet *set, Vm *vm, enum vm_verb verb, bool force,
	VmDone *done, void *opaque);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmSet, vm_set_free)
