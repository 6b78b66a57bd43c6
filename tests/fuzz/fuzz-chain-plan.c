/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints in any state on up to three disks, also in states that cannot
 * be: a base is always one that can be trusted, and a commit deletes neither
 * what it makes nor what is not the chain's.
 */
#include "chain-plan.h"

#include "fuzz.h"

#define DISKS 3
#define CHAIN "nightly"
#define SIZE 65536
#define START G_GINT64_CONSTANT(1800000000000)
#define NOW (START + 8)

/* Two bytes: the instant and what is not as it should be. */
static void add_bitmap(ChainDisk *disk, FuzzInput *in)
{
	unsigned instant = fuzz_byte(in), state = fuzz_byte(in);
	Checkpoint checkpoint = {
		.chain = (char *)(instant & 0x10 ? "weekly" : CHAIN),
		.instant_ms = START + (instant & 0xf),
		.size = instant & 0x20 ? SIZE / 2 : SIZE,
		.pending = state & 1,
	};
	g_autofree char *name = NULL;
	ChainBitmap *bitmap;

	checkpoint.content_ms = checkpoint.instant_ms;
	strcpy(checkpoint.identity, disk->identity);
	if (instant & 0x40)
		checkpoint.identity[0] ^= 1; /* another hexadecimal digit */
	name = checkpoint_to_name(&checkpoint);
	bitmap = chain_disk_add(disk, state & 2 ? "lower" : "node", name);
	g_assert_nonnull(bitmap);
	bitmap->lower = state & 2;
	bitmap->recording = !(state & 4);
	bitmap->inconsistent = state & 8;
	bitmap->busy = state & 16;
}

static ChainDisk *make_disk(unsigned number, FuzzInput *in)
{
	unsigned flags = fuzz_byte(in), bitmaps = fuzz_byte(in) % 8;
	ChainDisk *disk = chain_disk_new("v", "node");

	g_snprintf(disk->identity, sizeof(disk->identity), "%016x", number);
	disk->size = SIZE;
	disk->keeps = flags & 1;
	disk->read_only = flags & 2;
	disk->chosen = !(flags & 4);
	for (unsigned i = 0; i < bitmaps; i++)
		add_bitmap(disk, in);
	return disk;
}

static void check_base(const ChainWish *wish, const ChainDisk *disk,
	const ChainBase *base)
{
	const ChainBitmap *bitmap = base->base;

	g_assert_true(!bitmap == !!base->reason);
	if (!bitmap)
		return;
	g_assert_true(g_ptr_array_find(disk->bitmaps, bitmap, NULL));
	g_assert_cmpstr(bitmap->checkpoint->chain, ==, CHAIN);
	g_assert_cmpstr(bitmap->checkpoint->identity, ==, disk->identity);
	g_assert_cmpuint(bitmap->checkpoint->size, ==, disk->size);
	g_assert_false(bitmap->checkpoint->pending || bitmap->lower ||
		bitmap->inconsistent || bitmap->busy || disk->read_only);
	g_assert_true(bitmap->recording);
	if (wish->since_ms)
		g_assert_cmpint(bitmap->checkpoint->instant_ms, ==,
			wish->since_ms);
}

/* The newest, which all bases share. */
static void check_bases(const ChainWish *wish, ChainDisk **disks,
	const ChainBase *bases)
{
	gint64 instant = 0;

	for (unsigned i = 0; i < DISKS; i++) {
		check_base(wish, disks[i], &bases[i]);
		if (!bases[i].base)
			continue;
		g_assert_true(instant == 0 || instant ==
			bases[i].base->checkpoint->instant_ms);
		instant = bases[i].base->checkpoint->instant_ms;
	}
}

static const ChainBitmap *find(const ChainDisk *disk, const char *name)
{
	for (guint i = 0; i < disk->bitmaps->len; i++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[i];

		if (g_str_equal(bitmap->name, name))
			return bitmap;
	}
	g_error("%s is not on the disk", name);
}

static void check_deleted(const ChainDisk *disk, GPtrArray *names,
	bool outdated, gint64 instant)
{
	for (guint i = 0; i < names->len; i++) {
		const ChainBitmap *bitmap = find(disk, names->pdata[i]);
		const Checkpoint *checkpoint = bitmap->checkpoint;

		g_assert_cmpstr(checkpoint->chain, ==, CHAIN);
		g_assert_false(checkpoint->pending || disk->read_only);
		g_assert_true(!outdated || checkpoint->instant_ms != instant);
	}
	g_ptr_array_unref(names);
}

static void try_plan(ChainDisk **disks, const ChainWish *wish)
{
	const ChainDisk *const *all = (const ChainDisk *const *)disks;
	ChainBase bases[DISKS];
	g_autoptr(GError) error = NULL;
	gint64 instant;
	bool planned;

	g_assert_true(chain_plan_instant(CHAIN, all, DISKS, NOW, &instant,
		NULL));
	g_assert_cmpint(instant, >=, NOW);
	planned = chain_plan_bases(wish, all, DISKS, bases, &error);
	fuzz_assert_told(planned, error);
	if (planned)
		check_bases(wish, disks, bases);
	for (unsigned i = 0; i < DISKS; i++) {
		check_deleted(disks[i], chain_plan_broken(CHAIN, disks[i]),
			false, instant);
		check_deleted(disks[i], chain_plan_outdated(wish, disks[i],
			instant), true, instant);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned how = fuzz_byte(&in);
	ChainWish wish = {
		.chain = CHAIN,
		.since_ms = how & 1 ? START + (how >> 4) : 0,
		.fallback_full = how & 2,
		.keep = 1 + (how >> 2 & 3),
	};
	ChainDisk *disks[DISKS];

	for (unsigned i = 0; i < DISKS; i++)
		disks[i] = make_disk(i, &in);
	try_plan(disks, &wish);
	for (unsigned i = 0; i < DISKS; i++)
		chain_disk_free(disks[i]);
	return 0;
}
