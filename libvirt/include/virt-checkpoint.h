/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-checkpoint.h - the checkpoints that libvirt keeps of a domain
 *
 * A checkpoint is a dirty bitmap of the same name on each of its disks, which
 * records from its birth until it is deleted.  Its name never changes; its
 * description, any line of text, may.  They outlive the domain's end.
 *
 * Conventions as in virt-host.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "virt-host.h"

typedef struct {
	char *name;
	char *description; /* never NULL */
	GPtrArray *disks;  /* targets of the disks with its bitmap */
} VirtCheckpoint;

/* Those of the domain; freed with the array. */
GPtrArray *virt_checkpoints(VirtHost *host, const char *uuid, GError **error);

/* The one of that name; ENOENT where there is none. */
VirtCheckpoint *virt_checkpoint_find(VirtHost *host, const char *uuid,
	const char *name, GError **error);

void virt_checkpoint_free(VirtCheckpoint *checkpoint);

/* Replaces the description, which has no character that XML escapes, in one
 * step: there is the old one or the new one, whatever fails.  EPROTO where
 * the checkpoint has none. */
bool virt_checkpoint_describe(VirtHost *host, const char *uuid,
	const char *name, const char *description, GError **error);

/*
 * Deletes it and its bitmaps.  Where one of these is not there any more,
 * libvirt refuses that; it then forgets the checkpoint alone, and what
 * bitmaps there are stay in their images.  *left, unless NULL, says so.
 */
bool virt_checkpoint_delete(VirtHost *host, const char *uuid,
	const char *name, bool *left, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtCheckpoint, virt_checkpoint_free)
