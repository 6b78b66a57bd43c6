/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>

#include "chain-instant.h"
#include "chain.h"
#include "fleece-error.h"
#include "instant.h"

/* What is dirty since the base, on the scratch node: a bitmap of the disk's
 * own node that is exported would abort QEMU when the disk is resized. */
#define COPY "fl-dirty"
#define CONTEXT "qemu:dirty-bitmap:" COPY

/* Of every bitmap made here: what copy-before-write copies at once. */
#define GRANULARITY FLEECE_CLUSTER

DiskChain *disk_chain_new(const char *chain, const char *reason)
{
	DiskChain *part = g_new0(DiskChain, 1);

	part->chain = g_strdup(chain);
	part->reason = reason;
	return part;
}

void disk_chain_free(DiskChain *chain)
{
	if (!chain)
		return;
	g_free(chain->chain);
	g_free(chain->bitmap);
	g_free(chain->node);
	g_free(chain->pending);
	g_free(chain);
}

static const Settings *settings(const FleeceBuild *build)
{
	return build->request->settings;
}

/* Only a filter can be told which blocks matter. */
static bool is_limited(const FleeceBuild *build, const BuildDisk *disk)
{
	return settings(build)->view == VIEW_DELTA && disk->base &&
		build->fleece->plan.method == METHOD_FILTER;
}

static void take_base(FleeceBuild *build, BuildDisk *disk,
	const ChainBase *base)
{
	DiskChain *part = disk_chain_new(settings(build)->chain,
		base->reason);

	disk->base = base->base;
	part->base_ms = disk->base ? disk->base->checkpoint->instant_ms : 0;
	part->limited = is_limited(build, disk);
	g_ptr_array_add(build->fleece->chains, part);
	disk->part = part;
}

/* The chosen disks of build in their order, each with its facts. */
static bool choose(FleeceBuild *build, GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];

		disk->facts = chain_find(build->chain, disk->disk->id);
		if (!disk->facts) {
			fleece_set_error(error, EAGAIN, "disk %s: it went "
				"away while its bitmaps were looked for",
				disk->disk->id);
			return false;
		}
		disk->facts->chosen = true;
	}
	return true;
}

static void plan_without_chain(FleeceBuild *build)
{
	const ChainBase none = { NULL, "no-chain" };

	for (guint i = 0; i < build->disks->len; i++)
		take_base(build, build->disks->pdata[i], &none);
}

static ChainWish wish_of(const FleeceBuild *build)
{
	return (ChainWish){
		.chain = settings(build)->chain,
		.since_ms = settings(build)->since_ms,
		.fallback_full = settings(build)->fallback_full,
		.keep = settings(build)->keep,
	};
}

static bool plan_bases(FleeceBuild *build, GError **error)
{
	const ChainDisk *const *all =
		(const ChainDisk *const *)build->chain->pdata;
	g_autofree ChainBase *bases = g_new0(ChainBase, build->chain->len);
	ChainWish wish = wish_of(build);

	if (!chain_plan_bases(&wish, all, build->chain->len, bases, error))
		return false;
	for (guint i = 0; i < build->disks->len; i++) {
		BuildDisk *disk = build->disks->pdata[i];
		guint at;

		g_ptr_array_find(build->chain, disk->facts, &at);
		take_base(build, disk, &bases[at]);
	}
	return true;
}

bool fleece_chain_plan(FleeceBuild *build, GError **error)
{
	build->fleece->chains = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_chain_free);
	if (!settings(build)->chain) {
		plan_without_chain(build);
		return true;
	}
	build->chain = chain_read(build->client, build->request->vm, error);
	return build->chain && choose(build, error) &&
		plan_bases(build, error);
}

static void drop_broken(FleeceBuild *build, const ChainDisk *disk)
{
	g_autoptr(GPtrArray) names = chain_plan_broken(settings(build)->chain,
		disk);

	for (guint i = 0; i < names->len; i++) {
		g_autoptr(GError) error = NULL;

		if (!qmp_bitmap_remove(build->client, disk->node,
			    names->pdata[i], &error))
			g_warning("VM %s: disk %s: an inconsistent bitmap "
				"stays: %s", build->request->vm, disk->id,
				error->message);
	}
}

bool fleece_chain_clean(FleeceBuild *build, GError **error)
{
	for (guint i = 0; build->chain && i < build->chain->len; i++)
		drop_broken(build, build->chain->pdata[i]);
	return chain_drop_pending(build->client, build->request->vm, error);
}

static bool set_instant(FleeceBuild *build, GError **error)
{
	gint64 *instant = &build->fleece->instant_ms;

	if (build->chain)
		return chain_next_instant(build->request->vm,
			settings(build)->chain,
			(const ChainDisk *const *)build->chain->pdata,
			build->chain->len, instant, error);
	*instant = instant_now();
	return true;
}

/* A disk that nobody writes to needs no bitmap, nor could it keep one. */
static bool name_pending(FleeceBuild *build, BuildDisk *disk, GError **error)
{
	Checkpoint pending = {
		.chain = settings(build)->chain,
		.instant_ms = build->fleece->instant_ms,
		.size = disk->disk->size,
		.pending = true,
	};

	disk->part->content_ms = build->fleece->instant_ms;
	if (!build->chain || disk->facts->read_only)
		return true;
	g_strlcpy(pending.identity, disk->facts->identity,
		sizeof pending.identity);
	disk->part->node = g_strdup(disk->facts->node);
	disk->part->pending = checkpoint_to_name(&pending);
	return undo_list_add(build->request->undo, UNDO_BITMAP,
		disk->part->node, disk->part->pending, NULL, NULL, error);
}

bool fleece_chain_begin(FleeceBuild *build, GError **error)
{
	if (!set_instant(build, error))
		return false;
	for (guint i = 0; i < build->disks->len; i++) {
		if (!name_pending(build, build->disks->pdata[i], error))
			return false;
	}
	return true;
}

static void begin_to_record(const BuildDisk *disk, QmpTransaction *transaction)
{
	qmp_transaction_bitmap_add(transaction, disk->part->node,
		disk->part->pending, GRANULARITY, disk->facts->keeps ?
		QMP_BITMAP_PERSISTENT : QMP_BITMAP_RECORDING);
}

static void make_copy(const BuildDisk *disk, QmpTransaction *transaction)
{
	qmp_transaction_bitmap_add(transaction, disk->scratch, COPY,
		GRANULARITY, QMP_BITMAP_DISABLED);
}

static void fill_copy(const BuildDisk *disk, QmpTransaction *transaction)
{
	qmp_transaction_bitmap_merge(transaction, disk->scratch, COPY,
		disk->base->node, disk->base->name);
}

void fleece_chain_before(FleeceBuild *build, QmpTransaction *transaction)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];

		if (disk->part->pending)
			begin_to_record(disk, transaction);
		if (!disk->part->limited)
			continue;
		make_copy(disk, transaction);
		fill_copy(disk, transaction);
	}
}

void fleece_chain_after(FleeceBuild *build, QmpTransaction *transaction)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const BuildDisk *disk = build->disks->pdata[i];

		if (!disk->base)
			continue;
		if (!disk->part->limited)
			make_copy(disk, transaction);
		fill_copy(disk, transaction);
	}
}

const char *fleece_chain_bitmap(const BuildDisk *disk)
{
	return disk->base ? COPY : NULL;
}

const char *fleece_chain_context(const BuildDisk *disk)
{
	return disk->base ? CONTEXT : NULL;
}

void fleece_chain_shown(const BuildDisk *disk)
{
	const ExtentList *extents = disk_view_extents(disk->view);

	if (disk->base && extent_list_total(extents, EXTENT_DIRTY,
		    EXTENT_DIRTY) == 0)
		disk->part->content_ms = disk->base->checkpoint->content_ms;
}
