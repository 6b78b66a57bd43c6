/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-chain.h - what a disk of a snapshot is to its chain
 *
 * Made while the fleece is built; never changes afterwards.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct {
	char *chain;        /* NULL: no chain */
	const char *reason; /* why it is full, static; NULL: incremental */
	gint64 base_ms;     /* instant of the base; 0 where it is full */
	gint64 content_ms;  /* since when the disk has been as it is here */
	bool limited;       /* QEMU copies, and lets be read, only what is
			     * dirty */
	char *bitmap;       /* of an NBD server that others run: what .dirty
			     * shows; else NULL */
	char *node;         /* with the pending bitmap; NULL: there is none */
	char *pending;      /* its name */
} DiskChain;

DiskChain *disk_chain_new(const char *chain, const char *reason);
void disk_chain_free(DiskChain *chain);
