/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-block.h - the block nodes that a fleece is made of
 *
 * Conventions as in qmp-query.h.  Node names have at most 31 bytes.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

/* A raw node over the file at path, both layers with discard=unmap; below is
 * the name of the layer that is the file, NULL: QEMU gives it one. */
bool qmp_blockdev_add_scratch(QmpClient *client, const char *node,
	const char *below, const char *path, GError **error);

/* An image file, or a block device. */
typedef struct {
	const char *path;
	const char *format; /* its driver */
} QmpLayer;

/*
 * A node over an image with its backing chain, for reading: n layers, the
 * image itself first.  What is below the last is as that one says; with ends,
 * nothing is.
 */
bool qmp_blockdev_add_image(QmpClient *client, const char *node,
	const QmpLayer *layers, size_t n, bool ends, GError **error);

typedef struct {
	const char *node;   /* its name */
	const char *file;   /* the disk's root node */
	const char *target; /* the scratch node */
	/* Seconds a guest write may wait for scratch; 0: no limit. */
	unsigned cbw_timeout;
	/* Copy, and let be read, only what is marked in this bitmap of the
	 * target when the filter is made; NULL: everything. */
	const char *bitmap;
} QmpFilter;

/* A copy-before-write filter with on-cbw-error=break-snapshot (QEMU 7.1). */
bool qmp_blockdev_add_filter(QmpClient *client, const QmpFilter *filter,
	GError **error);

/* A snapshot-access node on a filter, with discard=unmap (QEMU 7.0). */
bool qmp_blockdev_add_access(QmpClient *client, const char *node,
	const char *filter, GError **error);

bool qmp_blockdev_del(QmpClient *client, const char *node, GError **error);

/*
 * Whether QEMU's main thread has a node that a device uses; nothing changes.
 * It asks for the node to be moved there with x-blockdev-set-iothread, which
 * does nothing where it is there already, and which the device refuses
 * ("Cannot change iothread of active block backend") where it is not: QEMU
 * 7.2, and no longer promised by any later one.
 */
bool qmp_check_main_thread(QmpClient *client, const char *node,
	GError **error);
