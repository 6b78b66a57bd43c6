/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain.h"

#include "qmp-transaction.h"

typedef struct {
	const char *chain;
	gint64 instant_ms; /* 0: all */
	bool pending;
} Which;

static bool is_meant(const Which *which, const Checkpoint *checkpoint)
{
	return g_str_equal(checkpoint->chain, which->chain) &&
		(!which->instant_ms ||
			checkpoint->instant_ms == which->instant_ms) &&
		(which->pending || !checkpoint->pending);
}

/* One by one: the order does not matter, and one that cannot be deleted shall
 * not keep the others. */
static bool delete_from(QmpClient *client, const ChainDisk *disk,
	const Which *which, unsigned *deleted, GError **error)
{
	g_autoptr(GError) first = NULL;

	for (guint i = 0; i < disk->bitmaps->len; i++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[i];
		g_autoptr(GError) failure = NULL;

		if (!is_meant(which, bitmap->checkpoint))
			continue;
		if (qmp_bitmap_remove(client, bitmap->node, bitmap->name,
			    &failure)) {
			++*deleted;
		} else if (!first) {
			g_prefix_error(&failure, "disk %s: %s: ", disk->id,
				bitmap->name);
			first = g_steal_pointer(&failure);
		}
	}
	if (!first)
		return true;
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}

bool chain_delete(QmpClient *client, GPtrArray *disks, const char *chain,
	gint64 instant_ms, bool pending, unsigned *deleted, GError **error)
{
	const Which which = { chain, instant_ms, pending };
	g_autoptr(GError) first = NULL;

	for (guint i = 0; i < disks->len; i++) {
		g_autoptr(GError) failure = NULL;

		if (!delete_from(client, disks->pdata[i], &which, deleted,
			    &failure) && !first)
			first = g_steal_pointer(&failure);
	}
	if (!first)
		return true;
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}
