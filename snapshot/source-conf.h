/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source-conf.h - a .conf file as SOURCE: a place in each group; private */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#include "settings.h"

/*
 * Reads the file at path, of size bytes, and adds its SourcePlaces to places,
 * not those of single VMs that the globs leave out, and their DomainHosts, one
 * for each URI, to hosts.  settings are the mount's.
 * ENOTSUP for a libvirt where it is not built in;
 * EINVAL for a file that is none, unknown keys, bad values, and what does not
 * go together, with the group that says so.
 */
bool source_conf_read(const char *path, off_t size, const char *globs,
	const Settings *settings, GPtrArray *places, GPtrArray *hosts,
	GError **error);
