/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-bounce.h - reads that are no multiples of the server's blocks
 *
 * Private to this folder.  They are cut out of a larger one.
 */
#pragma once

#include "nbd-export.h"

/* Whether the export's server would refuse to read just this. */
bool nbd_bounce_is_needed(const NbdExport *export, size_t length,
	uint64_t offset);

/* As nbd_export_read_async(), with ENOMEM where memory is short. */
void nbd_bounce_read(NbdExport *export, void *buffer, size_t length,
	uint64_t offset, NbdDone *done, void *opaque);
