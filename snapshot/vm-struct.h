/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-struct.h - what a Vm consists of, for its own three files */
#pragma once

#include "domain-fleece.h"
#include "snapshot-make.h"
#include "vm.h"

struct Vm {
	VmConfig *config;
	const VmContext *context;
	UndoList *undo; /* whoever set busy; made at the first snapshot, NULL
			 * where nothing is made in a QEMU */
	gint64 ask_again;    /* not before, monotonic us; whoever looks */
	gint64 settle_again; /* the same */

	GMutex lock;
	bool retired;       /* lock */
	bool owes;          /* something of ours is left with its libvirt,
			     * without a snapshot; lock */
	bool settling;      /* that is being undone, it is busy; lock */
	GCond settled;      /* it is not any more */
	bool busy;          /* a snapshot is being taken, committed or
			     * released; lock */
	Snapshot *snapshot; /* lock */
	char *error;        /* lock */
};

/* vm-make.c: has a snapshot made in the way that its source has, and takes
 * what was made out of QEMU again.  Whoever has set busy. */
Snapshot *vm_make(Vm *vm, GError **error);
bool vm_unmake(Vm *vm, const Snapshot *snapshot, GError **error);

/* What libvirt is to be asked for; the strings stay the Vm's. */
DomainRequest vm_domain_request(const Vm *vm);

/* Whether something is left with its libvirt; whoever has set busy. */
bool vm_is_owing(const Vm *vm);

/* Whether a libvirt on another machine runs it. */
bool vm_is_remote(const Vm *vm);
