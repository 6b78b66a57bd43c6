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

gint64 chain_plan_instant(const char *chain, const ChainDisk *const *disks,
	size_t n, gint64 now_ms)
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
	return ms;
}

/* What a disk has of one instant of the chain. */
typedef struct {
	const ChainBitmap *top; /* where it belongs */
	bool lower;             /* the same, or part of it, further below */
	bool lower_any;         /* any committed one is below */
	bool foreign;           /* it has ones of another disk */
} Found;

static Found find(const ChainDisk *disk, const char *chain, gint64 ms)
{
	Found found = { 0 };

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];
		bool wanted = bitmap->checkpoint->instant_ms == ms;

		if (!is_committed(bitmap, chain))
			continue;
		if (!is_at_home(bitmap, disk)) {
			found.foreign |= !bitmap->lower;
		} else if (bitmap->lower) {
			found.lower |= wanted;
			found.lower_any = true;
		} else if (wanted) {
			found.top = bitmap;
		}
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
static const char *absence(const ChainDisk *disk, const Found *found,
	bool first)
{
	if (found->lower_any)
		return "layer";
	if (found->foreign)
		return "foreign-base";
	if (first)
		return "first";
	return disk->keeps ? "new-disk" : "transient-lost";
}

static ChainBase base_of(const ChainDisk *disk, const char *chain, gint64 ms,
	bool first)
{
	Found found = find(disk, chain, ms);
	const char *reason;

	if (disk->read_only)
		reason = "read-only";
	else if (!found.top)
		reason = absence(disk, &found, first);
	else if (found.lower) /* whoever copied it copied no dirty bits */
		reason = "layer";
	else
		reason = distrust(found.top, disk);
	return (ChainBase){ reason ? NULL : found.top, reason };
}

/* "va has INSTANT, INSTANT; vb has none" */
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
	gint64 ms = wish->since_ms ? wish->since_ms :
				     newest(wish->chain, disks, n);
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		bases[i] = base_of(disks[i], wish->chain, ms, ms == 0);
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

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];

		if (is_committed(bitmap, chain) && bitmap->inconsistent &&
		    !bitmap->lower)
			g_ptr_array_add(names, g_strdup(bitmap->name));
	}
	return names;
}

/* Whether an increment could ever start from it. */
static bool is_of_use(const ChainBitmap *bitmap, const ChainDisk *disk)
{
	return is_at_home(bitmap, disk) && bitmap->recording &&
		bitmap->checkpoint->size == disk->size;
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

	for (guint b = 0; b < disk->bitmaps->len; b++) {
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
