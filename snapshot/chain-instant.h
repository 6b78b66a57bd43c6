/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chain-instant.h - when the next checkpoint of a chain is; private */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "chain-plan.h"

/*
 * *instant_ms becomes now, or a moment behind the newest of the chain: then
 * it is logged, as of the VM vm, how far the clock is behind.  Fails as
 * chain_plan_instant() does.
 */
bool chain_next_instant(const char *vm, const char *chain,
	const ChainDisk *const *disks, size_t n, gint64 *instant_ms,
	GError **error);
