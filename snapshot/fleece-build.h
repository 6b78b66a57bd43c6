/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fleece-build.h - what the steps of a set-up share
 *
 * fleece.c prepares and exports, fleece-point.c makes the instant.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "discover.h"
#include "disk-view.h"
#include "fleece.h"
#include "owner.h"
#include "qmp-client.h"

/* One disk under construction. */
typedef struct {
	const Disk *disk;  /* in FleeceBuild.found */
	unsigned number;
	DiskView *view;    /* in Fleece.disks */
	int scratch_fd;    /* the view's; -1: read-only, nothing above it */
	char *scratch, *filter, *access, *job; /* node names and job id */
	char *export;      /* export id, and its name on the wire */
} BuildDisk;

typedef struct {
	const FleeceRequest *request;
	QmpClient *client;
	Owner *owner;       /* our note */
	GPtrArray *found;   /* Disks */
	GPtrArray *disks;   /* BuildDisks */
	char *directory;    /* of the NBD socket; NULL once it is gone */
	unsigned directory_undo;
	gint64 pause_ends;  /* monotonic us; 0: we have stopped nobody */
	Fleece *fleece;
} FleeceBuild;

/*
 * The instant, and the snapshot-access nodes that show it: from its return on
 * guest writes to any of the disks save the old block first.  Sets the
 * fleece's instant_ms and pause_us.
 */
bool fleece_point(FleeceBuild *build, GError **error);
