/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.h - the checkpoints that are in a QEMU
 *
 * Reads what chain-plan.h decides upon.  Conventions as in qmp-query.h.
 */
#pragma once

#include <glib.h>

#include "chain-plan.h"
#include "qmp-client.h"

/*
 * The disks of the VM called vm, whose monitor client is: a ChainDisk for
 * each device with a medium, with the checkpoints of every chain on it and on
 * the layers below, but for libvirt's.  None is chosen.  The array frees them.
 */
GPtrArray *chain_read(QmpClient *client, const char *vm, GError **error);

/* The disk with this id, or NULL. */
ChainDisk *chain_find(GPtrArray *disks, const char *id);

/*
 * Deletes checkpoints of chain from the disks, that of instant_ms or, where
 * this is 0, all; pending ones only with pending, which is for a caller who
 * knows that nobody waits for their commit.  Adds to *deleted how many.  Goes
 * on after an error and returns the first: on a layer that is read-only they
 * cannot be deleted.
 */
bool chain_delete(QmpClient *client, GPtrArray *disks, const char *chain,
	gint64 instant_ms, bool pending, unsigned *deleted, GError **error);

/*
 * Deletes what is pending in any chain, on all nodes that can be written to:
 * the caller owns the fleece of this VM, so whoever wanted it has died.  What
 * cannot be deleted is logged, as of the VM vm.
 */
bool chain_drop_pending(QmpClient *client, const char *vm, GError **error);
