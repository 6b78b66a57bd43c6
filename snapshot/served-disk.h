/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * served-disk.h - a disk of a snapshot that an NBD server shows
 *
 * Private to this folder: attach.c and domain-fleece.c share it.  The server
 * is one that we reach by its address alone; nothing is put into QEMU here.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "disk-chain.h"
#include "fleece.h"
#include "nbd-loop.h"
#include "nbd-server.h"
#include "quirks.h"
#include "settings.h"

typedef struct {
	const char *vm;  /* its name */
	const NbdServer *server;
	const Settings *settings;
	const ServerPlan *plan;  /* what may be asked of the server */
	NbdLoop *const *loops;
	unsigned n_loops;
	const NbdExportFacts *facts; /* of its export */
	const char *id;      /* what the disk is called */
	const char *bitmap;  /* what .dirty shows; NULL: all is dirty */
	DiskChain *chain;    /* taken */
	int scratch_fd;      /* taken; -1: none that we could see */
	bool written;        /* a guest writes while the map is read */
} ServedDisk;

/*
 * Connects to the export, reads its maps and adds the disk to the fleece.
 * taken are the names of files that are in use.  Blocks.  Where the server
 * refuses to show what is clean, chain->limited is set.
 */
bool served_disk_add(const ServedDisk *disk, Fleece *fleece,
	GHashTable *taken, GError **error);

/* Logs text, which it takes, and adds it to the fleece's warnings. */
void served_disk_warn_take(const char *vm, Fleece *fleece, char *text);
