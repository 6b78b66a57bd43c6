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

typedef struct ImageHost ImageHost;

/*
 * Starts it for the VM called vm, opens, locks and exports all images
 * (DiskImages), with the bitmaps that are stored in them and sound; format as
 * in disk_image_format().  EBUSY where a VM runs on one.  Blocks.
 */
ImageHost *image_host_new(const ImageStarter *starter, const char *vm,
	GPtrArray *images, const char *format, unsigned timeout_ms,
	GError **error);

/* Ends it: a VM may start on the images.  ETIMEDOUT where it hangs.  Blocks
 * for some seconds then; one thread at a time. */
bool image_host_end(ImageHost *host, GError **error);

/* Ends it, if that was not done. */
void image_host_free(ImageHost *host);

/* The URI of its NBD server, in this process alone; the host's. */
const char *image_host_uri(const ImageHost *host);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageHost, image_host_free)
