/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-fleece.h - the point-in-time view of a domain of libvirt's
 *
 * libvirt begins a backup job in pull mode, with the chain's next checkpoint
 * in the same step; that is the instant of all disks.  QEMU shows them at a
 * unix socket, or, on another machine, at a TCP port, read-only.  Of a domain
 * that is off, which cannot have a job, the images are read instead
 * (image-host.h).  All functions block.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "domain-host.h"
#include "fleece.h"
#include "guardian.h"
#include "image-starter.h"
#include "nbd-loop.h"
#include "settings.h"
#include "undo.h"

typedef struct {
	const char *vm;     /* its name */
	const char *domain; /* libvirt's name of it */
	const char *uuid;   /* of the domain */
	DomainHost *host;
	const Settings *settings;
	Guardian *guardian;
	const ImageStarter *starter;
	UndoList *undo;     /* empty, of this guardian and the host's URI, and
			     * with via=monitor of this domain's monitor */
	NbdLoop *const *loops;
	unsigned n_loops;
} DomainRequest;

/*
 * Begins the job and connects to its exports, or, with via=monitor, has QEMU
 * make the snapshot; or reads the images of a domain that is off.  On failure
 * everything is undone where that is possible; what is not stays in
 * request->undo.  EBUSY where others have a job there, or an image open;
 * EREMOTE where the domain is off, and on another machine.
 */
Fleece *domain_fleece_new(const DomainRequest *request, GError **error);

/* Commits the checkpoint, and deletes those that are older than is to be
 * kept.  The job still runs.  EOPNOTSUPP where the domain was off. */
bool domain_commit(const DomainRequest *request, const Fleece *fleece,
	GError **error);

/*
 * Whether the guest stands still because a write of its failed, as it does
 * when the scratch is full.  False where that cannot be found out; *answers
 * becomes false where libvirt is silent.
 */
bool domain_is_stuck(DomainHost *host, const char *uuid, bool *answers);

/* How many bytes of scratch its snapshot takes there, by libvirt's account.
 * False where that cannot be found out within seconds. */
bool domain_scratch_used(DomainHost *host, const char *uuid, uint64_t *used);

/*
 * Undoes what a dead fleecefs left with the domain; with force also what
 * belongs to one that lives or is on another machine.  EBUSY where an owner
 * lives.  A job of somebody else's is not touched.
 */
bool domain_recover(VirtHost *host, const char *vm, const char *uuid,
	bool force, unsigned timeout_ms, GError **error);

/*
 * EBUSY where another has libvirt's lock of the domain, so that nothing can be
 * made; but a guest that a dead fleecefs may have stopped or frozen is worth
 * any wait.
 */
bool domain_check_lock(VirtHost *host, const char *uuid, GError **error);

/* EBUSY where a backup job runs. */
bool domain_check_idle(VirtHost *host, const char *uuid, GError **error);
