/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fleece.h - builds the point-in-time view of one VM inside its QEMU
 *
 * Blocks for as long as QMP takes; holds the monitor from the first command
 * to the last and gives it back.  All disks of the VM are at one instant.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "guardian.h"
#include "image-host.h"
#include "nbd-loop.h"
#include "quirks.h"
#include "settings.h"
#include "undo.h"

typedef struct {
	const char *vm;  /* its name */
	const Monitor *monitor; /* where QMP is spoken */
	GHashTable *names; /* of its disks: QEMU's id -> text; NULL: the ids */
	const Settings *settings;
	Guardian *guardian;
	UndoList *undo;  /* empty, of this guardian */
	NbdLoop *const *loops; /* the disks' connections are spread over them */
	unsigned n_loops;
} FleeceRequest;

/* What came out of it, and what attach.h gives, too. */
typedef struct {
	GPtrArray *disks;      /* DiskViews, attached, in QEMU's order */
	GPtrArray *chains;     /* DiskChains, one for each of disks */
	gint64 instant_ms;     /* UTC, milliseconds since 1970 */
	gint64 pause_us;       /* how long the guest stood still; 0: not */
	bool is_frozen;        /* the guest's filesystems, at the instant */
	uint64_t frozen;       /* how many of them */
	gint64 freeze_us;      /* how long; 0: not */
	GPtrArray *warnings;   /* texts, beside those of the plan */
	bool scratch_shared;   /* it is on the filesystem of a disk's image */
	char *qemu_version;    /* NULL where that is not known */
	const char *method;    /* how it was built, static */
	char *method_reason;   /* and why so */
	QemuPlan plan;
	enum view view;        /* what it was built for */
	char *domain_xml;      /* of a libvirt domain; else NULL */
	GBytes *nvram;         /* of its firmware, where that can be read */
	char *checkpoint;      /* libvirt's, pending; else NULL */
	ImageHost *images;     /* of a VM that is switched off; else NULL */
} Fleece;

/*
 * Builds it.  On failure everything is undone already where that is possible;
 * what could not be undone stays in request->undo.  The message names disk
 * and command.
 */
Fleece *fleece_new(const FleeceRequest *request, GError **error);

/*
 * Takes it out of QEMU: says so in the owner's note, then runs the undo list.
 * The disks must not be closed before: their connections end here.  On
 * failure what is left stays in the list.
 */
bool fleece_undo(UndoList *undo, const Monitor *monitor, unsigned timeout_ms,
	GError **error);

/* Closes and frees the disks, unless they were taken, and the rest. */
void fleece_free(Fleece *fleece);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fleece, fleece_free)
