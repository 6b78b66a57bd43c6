/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-image.h - an image file, or a block device, of a VM that is switched off
 *
 * What image= of a .conf names.  Nothing here blocks but on the file itself.
 */
#pragma once

#include <glib.h>

typedef struct {
	char *path; /* absolute */
	char *id;   /* what the disk is called: the file's stem */
} DiskImage;

/*
 * DiskImages of a list of paths, ';' between them, as in any GKeyFile.  EINVAL
 * for an empty one, and where two would have the same name.
 */
GPtrArray *disk_images_parse(const char *list, GError **error);

/*
 * The driver of the block layer that reads it: asked, where that is not NULL;
 * else "qcow2" for *.qcow2 and "raw" for everything else.  Never guessed by
 * its content, which a guest of a raw disk can write.  Where that looks like
 * another format than the name says, EINVAL: a container shown as a disk
 * would be wrong bytes.  Static, or asked.
 */
const char *disk_image_format(const DiskImage *image, const char *asked,
	GError **error);

/*
 * Keeps every QEMU from writing to it, by QEMU's own image locks: a VM does not
 * start on it meanwhile.  A reader needs that, for over a raw image a QEMU that
 * only reads lets others write.  EBUSY where somebody has it open to write.
 * Returns a descriptor; the lock ends when it is closed.
 */
int disk_image_lock(const DiskImage *image, GError **error);
