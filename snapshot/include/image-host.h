/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image-host.h - reads the images of one VM that is switched off
 *
 * A qemu-storage-daemon(1) of our own: it knows the formats, backing chains
 * and persistent bitmaps.  It starts with the mount, for later a confined
 * process runs no other (confine.h), and has images open only while a snapshot
 * stands, read-only and locked (disk-image.h).  Its sockets have no path that
 * others could open.  It ends with us, however we end.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct ImageHost ImageHost;

/* Starts it for the VM called vm; images: DiskImages; format as in
 * disk_image_format().  By the process's main thread alone, whose end it does
 * not survive. */
ImageHost *image_host_new(const char *vm, GPtrArray *images,
	const char *format, GError **error);

/* Ends it, and waits until it is gone, or for some seconds. */
void image_host_free(ImageHost *host);

/*
 * Opens, locks and exports all images, with the bitmaps that are stored in
 * them and sound.  EBUSY where a VM runs on one.  Blocks; one thread at a
 * time.  On failure none is open.
 */
bool image_host_open(ImageHost *host, unsigned timeout_ms, GError **error);

/* Closes them again: a VM may start on them. */
bool image_host_close(ImageHost *host, unsigned timeout_ms, GError **error);

/* The URI of its NBD server, in this process alone; the host's. */
const char *image_host_uri(const ImageHost *host);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageHost, image_host_free)
