/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach.h - the view of one VM that an NBD server shows
 *
 * A backup program's socket, virsh backup-begin, qemu-nbd: others have made
 * the instant and will end it.  Nothing is made that would have to be undone,
 * so there is no guardian's list: our end is a disconnection.
 *
 * What the server is, nobody says.  Its holes and its way with several
 * requests at once are trusted only where the user says so (quirks.h).
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "fleece.h"
#include "nbd-loop.h"
#include "settings.h"

typedef struct {
	const char *vm;  /* its name */
	const char *uri; /* of the server */
	bool images;     /* it is our own image-host.h, and may be trusted */
	const Settings *settings;
	NbdLoop *const *loops; /* the disks' connections are spread over them */
	unsigned n_loops;
} AttachRequest;

/*
 * Connects to the export that the URI names, or to all that the server lists
 * and settings->disks chooses.  Blocks.
 *
 * Fails where the server takes no trims and settings->discard is set, where
 * there is no such export or bitmap, or where bitmaps have to be chosen from;
 * the message says what is there.  Where the server refuses to show what is
 * clean, the view is VIEW_DELTA, whatever was asked for.
 */
Fleece *attach_new(const AttachRequest *request, GError **error);
