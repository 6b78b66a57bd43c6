/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.h - a VM that can have one snapshot at a time
 *
 * Its QEMU makes the snapshot (fleece.h), or libvirt has it made
 * (domain-fleece.h), or others have made one and show it over NBD (attach.h);
 * or it is switched off, and its images are read (image-host.h).
 *
 * vm_take(), vm_commit() and vm_release() block on QMP and the network: they
 * are for a worker's thread.
 * The others return at once, from any thread.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "domain-host.h"
#include "guardian.h"
#include "image-starter.h"
#include "nbd-loop.h"
#include "snapshot.h"
#include "source.h"

typedef struct Vm Vm;

/* What all VMs of a mount share; outlives them. */
typedef struct {
	Guardian *guardian;
	NbdLoop **loops;
	unsigned n_loops;
	ImageStarter *starter; /* for those that are switched off */
} VmContext;

Vm *vm_new(const VmConfig *config, const VmContext *context);

/* A Vm without a snapshot. */
void vm_free(Vm *vm);

const char *vm_name(const Vm *vm);

/*
 * Takes the snapshot.  EEXIST where there is one, EBUSY where one is being
 * taken or released, ESTALE where it has ended.  The error, which begins with
 * "VM NAME: ", is kept for vm_error().
 */
bool vm_take(Vm *vm, GError **error);

/*
 * Ends the snapshot.  ENOENT where there is none, EBUSY where a data file is
 * open and force is not set.  Its directory is gone in any case but EBUSY;
 * another error says that something is left in QEMU, which is tried again
 * before the next snapshot and, at the end, by the guardian; ETIMEDOUT also
 * where scratch does not answer.
 */
bool vm_release(Vm *vm, bool force, GError **error);

/*
 * Commits the snapshot's checkpoint: the next increment starts from it.
 * EINVAL where it has no chain; ENOENT where there is no snapshot; ESTALE
 * where that broke, EIO where it is gone or a read of it failed; EBUSY where
 * a data file is open and force is not set.  Doing it twice is fine.
 */
bool vm_commit(Vm *vm, bool force, GError **error);

/*
 * Takes a snapshot that broke out of QEMU, so that the guest has nothing to
 * do with it any more, and gives its scratch back.  Its directory stays, and
 * reads go on to fail, until it is released.  EBUSY where something else is
 * being done to it.
 */
bool vm_break(Vm *vm, GError **error);

/* Whether config, in which it has the same name, is of the same VM: a domain
 * may have been made anew. */
bool vm_is_of(const Vm *vm, const VmConfig *config);

/* Ends it where it has no snapshot, and none is being taken or released: it
 * never gets one any more.  Returns whether it has. */
bool vm_retire(Vm *vm);

/* The libvirt that runs it; NULL where none does. */
DomainHost *vm_host(const Vm *vm);

/*
 * Looks at a guest that libvirt runs: where a write of its failed for want of
 * scratch, the snapshot breaks.  Of one on another machine it asks how much
 * scratch there is in use.  What could not be undone is tried again.  Returns
 * whether it has to be looked at again; *answers becomes false where libvirt
 * is silent.  Blocks; one thread at a time.
 */
bool vm_look(Vm *vm, bool *answers);

/* Whether its snapshots need scratch. */
bool vm_needs_scratch(const Vm *vm);

/* The directory of that; NULL where there is none on this machine. */
const char *vm_scratch(const Vm *vm);

/* The snapshot that stands, referenced; NULL where there is none. */
Snapshot *vm_snapshot(Vm *vm);

/* What went wrong last, to be freed; NULL where nothing did. */
char *vm_error(Vm *vm);
