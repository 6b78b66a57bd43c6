/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-checkpoints.h - the checkpoints that fleecefs has with libvirt
 *
 * What chain.h is for a QEMU whose monitor we have.  Blocks.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "chain-plan.h"
#include "virt-host.h"

/* The disks of the domain that have any, as ChainDisks with the checkpoints of
 * every chain; freed with the array. */
GPtrArray *domain_checkpoints_read(VirtHost *host, const char *uuid,
	GError **error);

/*
 * Deletes checkpoints of chain, that of instant_ms or, where this is 0, all;
 * a pending one only where no backup job runs, which it could belong to.
 * Adds to *deleted how many.  Goes on after an error and returns the first.
 */
bool domain_checkpoints_delete(VirtHost *host, const char *uuid,
	const char *chain, gint64 instant_ms, unsigned *deleted,
	GError **error);

/* Deletes all that are pending; what cannot be deleted is logged, as of the
 * VM vm.  The caller knows that no fleecefs has a snapshot of it. */
bool domain_checkpoints_drop_pending(VirtHost *host, const char *vm,
	const char *uuid, GError **error);
