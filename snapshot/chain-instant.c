/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain-instant.h"

#include "instant.h"

bool chain_next_instant(const char *vm, const char *chain,
	const ChainDisk *const *disks, size_t n, gint64 *instant_ms,
	GError **error)
{
	gint64 now = instant_now();

	if (!chain_plan_instant(chain, disks, n, now, instant_ms, error))
		return false;
	if (*instant_ms > now)
		g_warning("VM %s: the clock is %" G_GINT64_FORMAT " ms behind "
			"the newest checkpoint of chain %s", vm,
			*instant_ms - now, chain);
	return true;
}
