/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain-plan.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "instant.h"

static void chain_bitmap_free(ChainBitmap *bitmap)
{
	g_free(bitmap->name);
	g_free(bitmap->node);
	checkpoint_free(bitmap->checkpoint);
	g_free(bitmap);
}

ChainDisk *chain_disk_new(const char *id, const char *node)
{
	ChainDisk *disk = g_new0(ChainDisk, 1);

	disk->id = g_strdup(id);
	disk->node = g_strdup(node);
	disk->bitmaps = g_ptr_array_new_with_free_func(
		(GDestroyNotify)chain_bitmap_free);
	return disk;
}

void chain_disk_free(ChainDisk *disk)
{
	if (!disk)
		return;
	g_free(disk->id);
	g_free(disk->node);
	g_ptr_array_unref(disk->bitmaps);
	g_free(disk);
}

ChainBitmap *chain_disk_add(ChainDisk *disk, const char *node,
	const char *name)
{
	Checkpoint *checkpoint = checkpoint_from_name(name);
	ChainBitmap *bitmap;

	if (!checkpoint)
		return NULL;
	bitmap = g_new0(ChainBitmap, 1);
	bitmap->name = g_strdup(name);
	bitmap->node = g_strdup(node);
	bitmap->checkpoint = checkpoint;
	g_ptr_array_add(disk->bitmaps, bitmap);
	return bitmap;
}

static bool is_in_chain(const ChainBitmap *bitmap, const char *chain)
{
	return g_str_equal(bitmap->checkpoint->chain, chain);
}

static bool is_committed(const ChainBitmap *bitmap, const char *chain)
{
	return is_in_chain(bitmap, chain) && !bitmap->checkpoint->pending;
}

static bool is_at_home(const ChainBitmap *bitmap, const ChainDisk *disk)
{
	return g_str_equal(bitmap->checkpoint->identity, disk->identity);
}

/* A committed one that is where it belongs, whatever state it is in. */
static bool is_candidate(const ChainBitmap *bitmap, const ChainDisk *disk,
	const char *chain)
{
	return is_committed(bitmap, chain) && is_at_home(bitmap, disk) &&
		!bitmap->lower;
}

/* The newest checkpoint over all disks of the VM; 0 where there is none. */
static gint64 newest(const char *chain, const ChainDisk *const *disks,
	size_t n)
{
	gint64 ms = 0;

	for (size_t i = 0; i < n; i++) {
		for (guint b = 0; b < disks[i]->bitmaps->len; b++) {
			const ChainBitmap *bitmap =
				disks[i]->bitmaps->pdata[b];

			if (is_candidate(bitmap, disks[i], chain))
				ms = MAX(ms, bitmap->checkpoint->instant_ms);
		}
	}
	return ms;
}

bool chain_plan_instant(const char *chain, const ChainDisk *const *disks,
	size_t n, gint64 now_ms, gint64 *instant_ms, GError **error)
{
	gint64 ms = now_ms;

	for (size_t i = 0; i < n; i++) {
		for (guint b = 0; b < disks[i]->bitmaps->len; b++) {
			const ChainBitmap *bitmap =
				disks[i]->bitmaps->pdata[b];

			if (is_in_chain(bitmap, chain))
				ms = MAX(ms,
					bitmap->checkpoint->instant_ms + 1);
		}
	}
	*instant_ms = ms;
	if (ms <= INSTANT_MAX)
		return true;
	fleece_set_error(error, EOVERFLOW, "chain %s has a checkpoint of the "
		"year 9999, and nothing can be newer: delete it", chain);
	return false;
}

/* What is looked for on each disk. */
typedef struct {
	const char *chain;
	gint64 ms;     /* the instant of the base */
	gint64 newest; /* of the chain; 0: it has none */
} Target;

/* What a disk has of it. */
typedef struct {
	const ChainBitmap *top; /* where it belongs */
	bool covered;           /* the layer on top came after that instant */
	bool newest;            /* it has the chain's newest */
	bool own;               /* it has any of its own */
	bool lower;             /* any of its own is further below */
	bool foreign;           /* it has ones of another disk */
} Found;

/* Where a layer below has one of this instant or a newer one, what stands on
 * top of it was made later: whoever copied the name copied no dirty bits. */
static void find_lower(const Target *target, const ChainBitmap *bitmap,
	Found *found)
{
	found->lower = true;
	found->covered |= !bitmap->checkpoint->pending &&
		bitmap->checkpoint->instant_ms >= target->ms;
}

static void find_top(const Target *target, const ChainBitmap *bitmap,
	Found *found)
{
	gint64 ms = bitmap->checkpoint->instant_ms;

	found->own = true;
	found->newest |= ms == target->newest;
	if (ms == target->ms)
		found->top = bitmap;
}

static Found find(const ChainDisk *disk, const Target *target)
{
	Found found = { 0 };

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];
		bool committed = is_committed(bitmap, target->chain);

		if (!is_in_chain(bitmap, target->chain))
			continue;
		if (is_at_home(bitmap, disk) && bitmap->lower)
			find_lower(target, bitmap, &found);
		else if (is_at_home(bitmap, disk) && committed)
			find_top(target, bitmap, &found);
		else if (!bitmap->lower && committed)
			found.foreign = true;
	}
	return found;
}

/* Why this bitmap cannot be a base; NULL where it can. */
static const char *distrust(const ChainBitmap *bitmap, const ChainDisk *disk)
{
	if (bitmap->inconsistent)
		return "inconsistent";
	if (!bitmap->recording)
		return "not-recording";
	if (bitmap->checkpoint->size != disk->size)
		return "resized";
	if (bitmap->busy)
		return "busy";
	return NULL;
}

/* Why a disk has no bitmap where it should. */
static const char *absence(const ChainDisk *disk, const Target *target,
	const Found *found)
{
	if (found->covered || (found->lower && !found->own))
		return "layer";
	if (found->newest)
		return "since-missing";
	if (found->foreign && !found->own)
		return "foreign-base";
	if (target->newest == 0)
		return "first";
	return disk->keeps ? "new-disk" : "transient-lost";
}

static ChainBase base_of(const ChainDisk *disk, const Target *target)
{
	Found found = find(disk, target);
	const char *reason;

	if (disk->read_only)
		reason = "read-only";
	else if (!found.top)
		reason = absence(disk, target, &found);
	else if (found.covered)
		reason = "layer";
	else
		reason = distrust(found.top, disk);
	return (ChainBase){ reason ? NULL : found.top, reason };
}

/* "disk va (REASON) has INSTANT, INSTANT; disk vb (REASON) has none" */
static char *list_checkpoints(const char *chain, const ChainDisk *const *disks,
	size_t n, const ChainBase *bases)
{
	GString *list = g_string_new(NULL);

	for (size_t i = 0; i < n; i++) {
		const ChainDisk *disk = disks[i];
		unsigned count = 0;

		if (!disk->chosen)
			continue;
		g_string_append_printf(list, "%sdisk %s (%s) has",
			list->len ? "; " : "", disk->id, bases[i].reason);
		for (guint b = 0; b < disk->bitmaps->len; b++) {
			const ChainBitmap *bitmap = disk->bitmaps->pdata[b];
			g_autofree char *text = instant_to_text(
				bitmap->checkpoint->instant_ms);

			if (is_candidate(bitmap, disk, chain))
				g_string_append_printf(list, "%s %s",
					count++ ? "," : "", text);
		}
		if (count == 0)
			g_string_append(list, " none");
	}
	return g_string_free(list, FALSE);
}

static bool refuse_since(const ChainWish *wish, const ChainDisk *const *disks,
	size_t n, const ChainBase *bases, GError **error)
{
	g_autofree char *since = instant_to_text(wish->since_ms);
	g_autofree char *list = list_checkpoints(wish->chain, disks, n, bases);

	fleece_set_error(error, ENOENT, "chain %s has no usable checkpoint "
		"%s: %s (fallback=full copies everything)", wish->chain,
		since, list);
	return false;
}

bool chain_plan_bases(const ChainWish *wish, const ChainDisk *const *disks,
	size_t n, ChainBase *bases, GError **error)
{
	gint64 last = newest(wish->chain, disks, n);
	Target target = { wish->chain, wish->since_ms ? wish->since_ms : last,
		last };
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		bases[i] = base_of(disks[i], &target);
		any |= disks[i]->chosen && bases[i].base;
	}
	if (any || !wish->since_ms || wish->fallback_full)
		return true;
	return refuse_since(wish, disks, n, bases, error);
}

static GPtrArray *name_array(void)
{
	return g_ptr_array_new_with_free_func(g_free);
}

GPtrArray *chain_plan_broken(const char *chain, const ChainDisk *disk)
{
	GPtrArray *names = name_array();

	for (guint b = 0; b < disk->bitmaps->len && !disk->read_only; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];

		if (is_committed(bitmap, chain) && bitmap->inconsistent &&
		    !bitmap->lower)
			g_ptr_array_add(names, g_strdup(bitmap->name));
	}
	return names;
}

const char *chain_plan_distrust(const ChainDisk *disk,
	const ChainBitmap *bitmap)
{
	const Checkpoint *checkpoint = bitmap->checkpoint;
	Target target = { checkpoint->chain, checkpoint->instant_ms, 0 };

	if (!is_at_home(bitmap, disk))
		return "foreign-base";
	if (bitmap->lower || find(disk, &target).covered)
		return "layer";
	return distrust(bitmap, disk);
}

/* Whether an increment could ever start from it: what is busy now need not be
 * so for ever. */
static bool is_of_use(const ChainBitmap *bitmap, const ChainDisk *disk)
{
	return bitmap->busy || !chain_plan_distrust(disk, bitmap);
}

/* How many checkpoints of use there are between this one and the instant. */
static unsigned count_newer(const ChainDisk *disk, const char *chain,
	const ChainBitmap *than, gint64 instant_ms)
{
	unsigned newer = 0;

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];
		gint64 ms = bitmap->checkpoint->instant_ms;

		newer += is_candidate(bitmap, disk, chain) &&
			is_of_use(bitmap, disk) && ms != instant_ms &&
			ms > than->checkpoint->instant_ms;
	}
	return newer;
}

GPtrArray *chain_plan_outdated(const ChainWish *wish, const ChainDisk *disk,
	gint64 instant_ms)
{
	GPtrArray *names = name_array();

	for (guint b = 0; b < disk->bitmaps->len && !disk->read_only; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];
		gint64 ms = bitmap->checkpoint->instant_ms;

		if (!is_committed(bitmap, wish->chain) || bitmap->lower ||
		    bitmap->busy || bitmap->inconsistent || ms == instant_ms)
			continue;
		/* the new one is kept, too */
		if (!is_of_use(bitmap, disk) ||
		    count_newer(disk, wish->chain, bitmap, instant_ms) + 1 >=
			    wish->keep)
			g_ptr_array_add(names, g_strdup(bitmap->name));
	}
	return names;
}
