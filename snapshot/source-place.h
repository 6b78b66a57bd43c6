/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source-place.h - where VMs are found; private
 *
 * One VM, or a directory of sockets or a libvirt, whose VMs come and go.  A
 * SOURCE is such a place, but a .conf, which has one in each group.  It never
 * changes once it was set up: any thread may list it.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "vm-config.h"

typedef struct {
	/* The VM, if it has a name; else what all VMs of the place have in
	 * common: their settings, and the libvirt that runs them. */
	VmConfig *vm;
	char *directory; /* of the sockets; NULL: it is none */
	GPtrArray *named; /* domains that have places of their own, and are
			   * left out; NULL: none */
	char *group;     /* its name in a .conf; NULL: there are no groups */
} SourcePlace;

SourcePlace *source_place_new(const Settings *settings);
void source_place_free(SourcePlace *place);

/*
 * The name of one of several VMs of a group is NAME@GROUP, so that no group's
 * names meet another's.
 *
 * Adds the VMs that are there now, and that the globs do not leave out, to
 * vms; sorted, for names are made unique, by those in taken, in the order in
 * which they come.  The name of a single VM is in taken already; it is there
 * also when its domain does not run.
 */
bool source_place_list(const SourcePlace *place, const char *globs,
	GHashTable *taken, GPtrArray *vms, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SourcePlace, source_place_free)
