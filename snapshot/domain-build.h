/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-build.h - what the steps of a set-up with libvirt share
 *
 * domain-fleece.c prepares and connects, domain-plan.c decides what is in the
 * snapshot and since when, domain-scratch.c makes the place for old blocks,
 * domain-point.c the instant.  Of a domain that is off, domain-off.c opens the
 * images in place of that; with via=monitor, domain-direct.c hands on to
 * fleece.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "chain-plan.h"
#include "disk-image.h"
#include "domain-chain.h"
#include "domain-fleece.h"
#include "domain-remote.h"
#include "nbd-server.h"
#include "owner.h"
#include "virt-disk.h"

/* One disk of the domain. */
typedef struct {
	const VirtDisk *disk; /* in DomainBuild.hardware */
	bool chosen;          /* it is in the snapshot */
	uint64_t size;        /* bytes; of a chosen one, but without a chain
			       * on another machine */
	char *export;         /* its name on the wire */
	char *scratch;        /* the path of its image */
	bool recorded;        /* it is in the new checkpoint */
	ChainDisk *facts;     /* NULL without a chain */
	ChainBase base;
	char *base_name;      /* of libvirt's checkpoint; NULL: full */
	NbdExportFacts *shown; /* what its server says of it; NULL: not asked
				* yet */
} DomainDisk;

typedef struct {
	const DomainRequest *request;
	VirtHost *virt;
	bool off;               /* the domain is */
	Owner *owner;
	VirtHardware *hardware;
	GPtrArray *disks;       /* DomainDisks, all that have a medium */
	GPtrArray *checkpoints; /* DomainCheckpoints; NULL without a chain */
	DomainCheckpoint *next; /* the new one; NULL: none */
	/* Where the disks are shown; NULL: not there yet, or not that way. */
	char *socket;           /* path */
	DomainRemote *remote;   /* on another machine */
	bool foreign_scratch;   /* libvirt makes it: QEMU cannot have ours */
	ImageHost *images;      /* of one that is off */
	gint64 paused_since;    /* monotonic us; 0: we have stopped nobody */
	unsigned pause_undo;
	gint64 frozen_since;    /* the same */
	unsigned freeze_undo;   /* 0: none that we still have to see to */
	Fleece *fleece;
} DomainBuild;

/* No CD-ROM, floppy or drive without a medium. */
bool domain_is_disk(const VirtDisk *disk);

/* Reads what the domain is like, and chooses its disks. */
bool domain_plan_disks(DomainBuild *build, GError **error);

/* Asks for the size of a chosen disk, unless that is known. */
bool domain_plan_size(DomainBuild *build, DomainDisk *disk, GError **error);

/* Which disks are incremental, since when, and the instant of the new
 * checkpoint; may be called again. */
bool domain_plan_chain(DomainBuild *build, GError **error);

/* The scratch of the chosen disks, on this machine: its undo, if its filesystem
 * answers; */
bool domain_scratch_note(DomainBuild *build, GError **error);
/* whether it is us who make it; */
bool domain_scratch_is_ours(const DomainBuild *build);
/* its images, where it is, anew for each try: what is in them covers what is
 * below.  Its filesystem may hang, so no guest must stand still; */
bool domain_scratch_make(const DomainBuild *build, GError **error);
/* has libvirt make it, where the message is that QEMU cannot open ours: libvirt
 * may live in a mount namespace of its own, or leave the owners of files alone
 * and run QEMU as another user; */
bool domain_scratch_leave(DomainBuild *build, const char *message);
/* and a descriptor through which its use is looked at; -1: none.  QEMU has ours
 * open by then, and it loses its name: libvirt would not remove it if all of us
 * died. */
int domain_scratch_open(const DomainBuild *build, const DomainDisk *disk);

/* The instant: from its return on the job runs and shows it. */
bool domain_point(DomainBuild *build, GError **error);

/* The instant of a domain that is off: its images are open, and nobody else
 * writes. */
bool domain_off_open(DomainBuild *build, GError **error);

/* All of it, where libvirt lends its QEMU's monitor: fleece.h does it. */
Fleece *domain_direct(const DomainBuild *build, GError **error);

/* The disk's image, as libvirt would give it to QEMU; EOPNOTSUPP where it
 * cannot be read without. */
DiskImage *domain_off_image(const VirtDisk *disk, GError **error);

/*
 * What the firmware remembers, now: NULL where it has nothing, or the file is
 * on another machine or cannot be read, which is logged.  hardware is the
 * domain's.
 */
GBytes *domain_nvram_read(const DomainRequest *request,
	const VirtHardware *hardware);

/* What of the disk's bitmaps is in the images that are open. */
void domain_off_judge(const ImageHost *images, ChainDisk *disk);

/* What a set-up that fails has to say before its undo list is run, and where
 * that has to be run again: nobody else could do better than us. */
void domain_point_unwind(DomainBuild *build);
void domain_point_leave(DomainBuild *build);
