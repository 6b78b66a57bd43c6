/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image-host.h - reads the images of one VM that is switched off
 *
 * A qemu-storage-daemon(1) of our own: it knows the formats, backing chains
 * and persistent bitmaps.  It runs only while a snapshot stands, and has the
 * images open read-only and locked (disk-image.h).  Its sockets have no path
 * that others could open.  It ends with us, however we end.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "image-starter.h"
#include "qmp-query.h"

typedef struct ImageHost ImageHost;

/*
 * Starts it for the VM called vm, opens, locks and exports all images
 * (DiskImages), with the bitmaps that are stored in them and sound.  The export
 * is called as the disk.  EBUSY where a VM runs on one.  Blocks.
 */
ImageHost *image_host_new(const ImageStarter *starter, const char *vm,
	GPtrArray *images, unsigned timeout_ms, GError **error);

/* Ends it: a VM may start on the images.  ETIMEDOUT where it hangs.  Blocks
 * for some seconds then; one thread at a time. */
bool image_host_end(ImageHost *host, GError **error);

/* Ends it, if that was not done. */
void image_host_free(ImageHost *host);

/* The URI of its NBD server, in this process alone; the host's. */
const char *image_host_uri(const ImageHost *host);

/* The bitmap of this name that is stored in the image of a disk; NULL where
 * there is none.  The host's. */
const QmpBitmap *image_host_bitmap(const ImageHost *host, const char *disk,
	const char *name);

/* Whether one is stored in any file below any of the images. */
bool image_host_has_below(const ImageHost *host, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageHost, image_host_free)
