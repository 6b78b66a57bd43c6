/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-access.h - the backup access of Proxmox VE's QEMU
 *
 * backup-access-setup puts copy-before-write over a disk, with a scratch node
 * that is there already as its target, and snapshot-access above it.  A VM
 * has one access or one backup at a time.  Neither command is in other QEMUs;
 * their schema is in Proxmox VE's patches to qapi/block-core.json.
 *
 * Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "qmp-client.h"

/* Whether QEMU has what follows: query-proxmox-support. */
bool qmp_query_access_api(QmpClient *client, bool *has, GError **error);

/* What an access shows of one disk. */
typedef struct {
	char *device; /* as it was called in the command */
	char *node;   /* of snapshot-access; it belongs to the access */
	uint64_t size; /* bytes */
} QmpAccess;

/*
 * Sets up an access for target, a name that nobody else has, to the devices
 * (NULL behind the last, and at least one: with none QEMU aborts).  Each is
 * the name of a block backend or of a root node, and a node of the same size
 * has to be there that is called after it, with QMP_ACCESS_SUFFIX.  Returns
 * QmpAccess in the same order.  No bitmap is used, and everything can be read.
 */
#define QMP_ACCESS_SUFFIX "-fleecing"
GPtrArray *qmp_access_set_up(QmpClient *client, const char *target,
	const char *const *devices, GError **error);

/* Tears it down; succeeds, too, where there is none at all. */
bool qmp_access_tear_down(QmpClient *client, const char *target,
	GError **error);
