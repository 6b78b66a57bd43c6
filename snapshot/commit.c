/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "commit.h"

#include "chain.h"
#include "disk-chain.h"
#include "disk-view.h"
#include "qmp-transaction.h"

/* The bitmap of that name that still records what the guest writes; NULL
 * where there is none. */
static const ChainBitmap *find_recording(const ChainDisk *disk,
	const char *name)
{
	for (guint i = 0; disk && i < disk->bitmaps->len; i++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[i];

		if (g_str_equal(bitmap->name, name) && !bitmap->lower &&
		    bitmap->recording && !bitmap->inconsistent)
			return bitmap;
	}
	return NULL;
}

static char *committed_name(const DiskChain *part)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(
		part->pending);

	checkpoint->pending = false;
	checkpoint->content_ms = part->content_ms;
	return checkpoint_to_name(checkpoint);
}

static void add_outdated(QmpTransaction *transaction, const ChainDisk *disk,
	const Settings *settings, gint64 instant_ms)
{
	const ChainWish wish = {
		.chain = settings->chain,
		.keep = settings->keep,
	};
	g_autoptr(GPtrArray) names = chain_plan_outdated(&wish, disk,
		instant_ms);

	for (guint i = 0; i < names->len; i++)
		qmp_transaction_bitmap_remove(transaction, disk->node,
			names->pdata[i]);
}

/*
 * The committed bitmap records before it takes over what the pending one has
 * recorded: a write in between is in both.  Returns whether the disk has, or
 * will have, its checkpoint.
 */
static bool add_disk(QmpTransaction *transaction, const ChainDisk *disk,
	const DiskChain *part, const Settings *settings, gint64 instant_ms)
{
	g_autofree char *name = committed_name(part);

	if (find_recording(disk, name))
		return true;
	if (!find_recording(disk, part->pending))
		return false;
	qmp_transaction_bitmap_add(transaction, disk->node, name,
		FLEECE_CLUSTER, disk->keeps ? QMP_BITMAP_PERSISTENT :
					      QMP_BITMAP_RECORDING);
	qmp_transaction_bitmap_merge(transaction, disk->node, name, disk->node,
		part->pending);
	qmp_transaction_bitmap_remove(transaction, disk->node, part->pending);
	add_outdated(transaction, disk, settings, instant_ms);
	return true;
}

static bool commit_over(QmpClient *client, const Fleece *fleece,
	const char *vm, const Settings *settings, GError **error)
{
	g_autoptr(QmpTransaction) transaction = qmp_transaction_new();
	g_autoptr(GPtrArray) disks = chain_read(client, vm, error);

	for (guint i = 0; disks && i < fleece->disks->len; i++) {
		const DiskChain *part = fleece->chains->pdata[i];
		const char *id = disk_view_id(fleece->disks->pdata[i]);

		if (part->pending && !add_disk(transaction,
			    chain_find(disks, id), part, settings,
			    fleece->instant_ms))
			g_warning("VM %s: disk %s: its bitmap does not record "
				"any more (unplugged, or an external "
				"snapshot): the next copy will be a full one",
				vm, id);
	}
	return disks && qmp_transaction_run(transaction, client, error);
}

bool commit(const Fleece *fleece, const char *vm, const Monitor *monitor,
	const Settings *settings, GError **error)
{
	g_autoptr(QmpClient) client = monitor_connect(monitor,
		settings->timeout_ms, error);

	return client && commit_over(client, fleece, vm, settings, error);
}
