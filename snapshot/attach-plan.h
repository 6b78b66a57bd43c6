/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach-plan.h - what is shown of what an NBD server exports
 *
 * Private to this folder.  Pure: what the server said goes in.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "nbd-server.h"
#include "settings.h"

/* The name of the disk's files for the export called name, before it is
 * escaped. */
const char *attach_disk_id(const char *name);

/*
 * Chooses the bitmap of each export (NbdExportFacts): (*bitmaps)[i] belongs to
 * exports[i], NULL where it has none.  With settings->bitmap, at least one
 * must match; where several of one export do, that is EINVAL.
 */
bool attach_plan_bitmaps(const GPtrArray *exports, const Settings *settings,
	const char **bitmaps, GError **error);

/* Whether the exports can do what settings ask for. */
bool attach_plan_check(const GPtrArray *exports, const Settings *settings,
	GError **error);

/* "a, b and 3 others", to be freed; "none" of none. */
char *attach_list_names(const GPtrArray *names);
