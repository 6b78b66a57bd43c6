/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-image.h - an image file, or a block device, of a VM that is switched off
 *
 * What image= of a .conf, or the XML of a domain, names.  Nothing here blocks
 * but on the file itself.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct {
	char *path;         /* absolute */
	char *id;           /* what the disk is called */
	char *format;       /* as somebody says; NULL: by its name */
	GPtrArray *backing; /* DiskImages below it, the highest first, as
			     * somebody says; below the last, or where there
			     * are none, as the image itself says, */
	bool ends;          /* or nothing */
} DiskImage;

/* format may be NULL. */
DiskImage *disk_image_new(const char *path, const char *id,
	const char *format);
void disk_image_free(DiskImage *image);

/* An array that frees them. */
GPtrArray *disk_image_array(void);

/*
 * DiskImages of a list of paths, ';' between them, as in any GKeyFile, called
 * as the stems of their names.  EINVAL for an empty one, and where two would
 * have the same name.
 */
GPtrArray *disk_images_parse(const char *list, GError **error);

/*
 * The driver of the block layer that reads it: its format, where that is not
 * NULL; else "qcow2" for *.qcow2 and "raw" for everything else.  Never guessed
 * by its content, which a guest of a raw disk can write.  Where that looks
 * like another format than the name says, EINVAL: a container shown as a disk
 * would be wrong bytes.  Static, or the image's.
 */
const char *disk_image_format(const DiskImage *image, GError **error);

/*
 * Keeps every QEMU from writing to it, by QEMU's own image locks: a VM does not
 * start on it meanwhile.  A reader needs that, for over a raw image a QEMU that
 * only reads lets others write.  EBUSY where somebody has it open to write.
 * Returns a descriptor; the lock ends when it is closed.
 */
int disk_image_lock(const DiskImage *image, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskImage, disk_image_free)
