/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain-plan.h"

#include <errno.h>
#include <string.h>

#include "chain-rig.h"
#include "fleece-error.h"
#include "instant.h"

/* A disk has what is a checkpoint, and nothing else. */
static void test_disk(void)
{
	static const char name[] = "fleecefs.weekly.20261120T234501123Z"
		".s4096.d3f0c2a917be45d10";
	g_autoptr(ChainDisk) disk = chain_disk_new("va", "top");
	ChainBitmap *bitmap;

	g_assert_null(chain_disk_add(disk, "top", "libvirt-1"));
	g_assert_null(chain_disk_add(disk, "top", ""));
	g_assert_cmpuint(disk->bitmaps->len, ==, 0);
	bitmap = chain_disk_add(disk, "below", name);
	g_assert_nonnull(bitmap);
	g_assert_cmpuint(disk->bitmaps->len, ==, 1);
	g_assert_true(disk->bitmaps->pdata[0] == bitmap);
	g_assert_cmpstr(bitmap->name, ==, name);
	g_assert_cmpstr(bitmap->node, ==, "below");
	g_assert_cmpstr(bitmap->checkpoint->chain, ==, "weekly");
	g_assert_cmpstr(disk->id, ==, "va");
	g_assert_cmpstr(disk->node, ==, "top");
	chain_disk_free(NULL);
}

typedef struct {
	const char *state;
	int now;
	int expected;
} InstantCase;

static const InstantCase instant_cases[] = {
	{ "va", 5, 5 },
	{ "va 3", 5, 5 },
	{ "va 4", 5, 5 },
	{ "va 5", 5, 6 },
	{ "va 9", 5, 10 }, /* the clock went back */
	{ "va 9 2", 5, 10 },
	{ "va 2 | vb 9 | vc 7", 5, 10 },
	{ "va 2 | vb,out 9", 5, 10 },
	{ "va,ro,raw 9", 5, 10 },
	{ "va 9/pending", 5, 10 },
	{ "va 9/clone", 5, 10 },
	{ "va 9/lower", 5, 10 },
	{ "va 9/clone/lower/pending", 5, 10 },
	{ "va 9/inconsistent", 5, 10 },
	{ "va 9/resized/busy/stopped", 5, 10 },
	{ "va 9/old-content", 5, 10 },
	{ "va 9/other", 5, 5 },
	{ "va 6 9/other/pending", 5, 7 },
};

static void test_instant(void)
{
	gint64 ms;

	for (size_t i = 0; i < G_N_ELEMENTS(instant_cases); i++) {
		const InstantCase *this = &instant_cases[i];
		g_autoptr(GPtrArray) disks = rig_parse(this->state);

		g_test_message("%s", this->state);
		g_assert_true(chain_plan_instant(RIG_CHAIN, rig_disks(disks),
			disks->len, RIG_INSTANT(this->now), &ms, NULL));
		g_assert_cmpint(ms, ==, RIG_INSTANT(this->expected));
	}
	g_assert_true(chain_plan_instant(RIG_CHAIN, NULL, 0, 7, &ms, NULL));
	g_assert_cmpint(ms, ==, 7);
}

/* Nothing can be newer than the last instant there is. */
static void test_last_instant(void)
{
	g_autoptr(GPtrArray) disks = rig_parse("va");
	g_autoptr(GError) error = NULL;
	Checkpoint last = { .chain = (char *)RIG_CHAIN,
		.instant_ms = INSTANT_MAX, .content_ms = INSTANT_MAX,
		.identity = "0123456789abcdef" };
	g_autofree char *name = checkpoint_to_name(&last);
	gint64 ms;

	g_assert_nonnull(chain_disk_add(disks->pdata[0], "n", name));
	g_assert_false(chain_plan_instant(RIG_CHAIN, rig_disks(disks), 1, 7,
		&ms, &error));
	g_assert_error(error, FLEECE_ERROR, EOVERFLOW);
}

/* "1 2": the instants of these names, which must be the disk's. */
static char *names_text(const GPtrArray *names)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < names->len; i++) {
		g_autoptr(Checkpoint) checkpoint =
			checkpoint_from_name(names->pdata[i]);

		g_assert_nonnull(checkpoint);
		g_string_append_printf(text, "%s%" G_GINT64_FORMAT,
			i ? " " : "", checkpoint->instant_ms - RIG_INSTANT(0));
	}
	return g_string_free(text, FALSE);
}

typedef struct {
	const char *state; /* one disk */
	const char *expected;
} BrokenCase;

static const BrokenCase broken_cases[] = {
	{ "va", "" },
	{ "va 1 2/busy 3/stopped 4/resized 5/clone 6/lower", "" },
	{ "va 1/inconsistent", "1" },
	{ "va 1/inconsistent 2 3/inconsistent", "1 3" },
	{ "va 1/inconsistent/resized 2/inconsistent/clone", "1 2" },
	{ "va,out 1/inconsistent", "1" },
	{ "va 1/inconsistent/lower", "" },
	{ "va 1/inconsistent/other", "" },
};

static void test_broken(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(broken_cases); i++) {
		const BrokenCase *this = &broken_cases[i];
		g_autoptr(GPtrArray) disks = rig_parse(this->state);
		g_autoptr(GPtrArray) names = chain_plan_broken(RIG_CHAIN,
			rig_disks(disks)[0]);
		g_autofree char *text = names_text(names);

		g_test_message("%s", this->state);
		g_assert_cmpstr(text, ==, this->expected);
	}
}

typedef struct {
	const char *state; /* one disk; 5 is what is being committed */
	const char *keep_1;
	const char *keep_2;
	const char *keep_3;
} OutdatedCase;

static const OutdatedCase outdated_cases[] = {
	{ "va", "", "", "" },
	{ "va 5", "", "", "" },
	{ "va 1", "1", "", "" },
	{ "va 1 2", "1 2", "1", "" },
	{ "va 1 2 3", "1 2 3", "1 2", "1" },
	{ "va 3 1 2", "3 1 2", "1 2", "1" },
	{ "va 1 2 3 4", "1 2 3 4", "1 2 3", "1 2" },
	{ "va 1/old-content 2/old-content", "1 2", "1", "" },
	/* the new one is there already, or is still pending */
	{ "va 1 2 3 5", "1 2 3", "1 2", "1" },
	{ "va 5 3 2 1", "3 2 1", "2 1", "1" },
	{ "va 1 2 3 5/pending", "1 2 3", "1 2", "1" },
	/* of no use: they go, and keep no place */
	{ "va 1 2/clone", "1 2", "2", "2" },
	{ "va 1 2/of-vb", "1 2", "2", "2" },
	{ "va 1 2/stopped", "1 2", "2", "2" },
	{ "va 1 2/resized", "1 2", "2", "2" },
	{ "va 1/resized 2 3", "1 2 3", "1 2", "1" },
	{ "va 1 2/lower", "1", "1", "1" },
	{ "va 1 1/lower 2", "1 2", "1", "1" },
	{ "va 1/clone/busy", "", "", "" },
	/* in use: it stays, and keeps its place */
	{ "va 1/busy", "", "", "" },
	{ "va 1 2/busy 3", "1 3", "1", "1" },
	{ "va 1/busy 2 3", "2 3", "2", "" },
	/* out of reach: they stay, and keep no place */
	{ "va 1/lower", "", "", "" },
	{ "va 1/inconsistent", "", "", "" },
	{ "va 1 2/inconsistent", "1", "", "" },
	/* not the chain's, or not committed */
	{ "va 1/pending", "", "", "" },
	{ "va 1 2/pending", "1", "", "" },
	{ "va 1/other", "", "", "" },
	{ "va 1 2/other 3/other", "1", "", "" },
	{ "va 1/clone/other", "", "", "" },
};

static void check_outdated(const char *state, unsigned keep,
	const char *expected)
{
	ChainWish wish = { .chain = RIG_CHAIN, .keep = keep };
	g_autoptr(GPtrArray) disks = rig_parse(state);
	g_autoptr(GPtrArray) names = chain_plan_outdated(&wish,
		rig_disks(disks)[0], RIG_INSTANT(5));
	g_autofree char *text = names_text(names);

	g_test_message("%s, keep=%u", state, keep);
	g_assert_cmpstr(text, ==, expected);
}

static void test_outdated(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(outdated_cases); i++) {
		const OutdatedCase *this = &outdated_cases[i];

		check_outdated(this->state, 1, this->keep_1);
		check_outdated(this->state, 2, this->keep_2);
		check_outdated(this->state, 3, this->keep_3);
	}
}

static void test_keep_all(void)
{
	check_outdated("va 1 2 3 4 5", UINT_MAX, "");
	check_outdated("va 1 2/clone 3/stopped 4", UINT_MAX, "2 3");
}

/* Whether a commit could want it gone. */
static bool is_in_reach(const ChainBitmap *bitmap)
{
	const Checkpoint *checkpoint = bitmap->checkpoint;

	return g_str_equal(checkpoint->chain, RIG_CHAIN) &&
		!checkpoint->pending && !bitmap->lower && !bitmap->busy &&
		!bitmap->inconsistent;
}

static ChainBitmap *find_top(const ChainDisk *disk, const char *name)
{
	for (guint b = 0; b < disk->bitmaps->len; b++) {
		ChainBitmap *bitmap = disk->bitmaps->pdata[b];

		if (g_str_equal(bitmap->name, name) && !bitmap->lower)
			return bitmap;
	}
	g_error("%s was not there", name);
}

/* Removes what the plan says. */
static void remove_outdated(const ChainWish *wish, ChainDisk *disk)
{
	g_autoptr(GPtrArray) names = chain_plan_outdated(wish, disk,
		RIG_INSTANT(5));

	for (guint i = 0; i < names->len; i++) {
		ChainBitmap *bitmap = find_top(disk, names->pdata[i]);

		g_assert_true(is_in_reach(bitmap));
		g_assert_true(g_ptr_array_remove(disk->bitmaps, bitmap));
	}
}

/* What is left is not more than the wish says, besides what is in use. */
static void check_left(const ChainWish *wish, const ChainDisk *disk)
{
	unsigned left = 0;

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];

		if (!is_in_reach(bitmap))
			continue;
		left++;
		g_assert_true(bitmap->recording);
		g_assert_cmpuint(bitmap->checkpoint->size, ==, disk->size);
		g_assert_cmpstr(bitmap->checkpoint->identity, ==,
			disk->identity);
	}
	g_assert_cmpuint(left, <=, wish->keep);
}

/* Commits the instant 5, and once more. */
static void check_commit(const ChainWish *wish, ChainDisk *disk)
{
	Checkpoint checkpoint = { .chain = (char *)RIG_CHAIN, .size = RIG_SIZE,
		.instant_ms = RIG_INSTANT(5), .content_ms = RIG_INSTANT(5) };
	g_autofree char *name = NULL;
	g_autoptr(GPtrArray) again = NULL;

	strcpy(checkpoint.identity, disk->identity);
	name = checkpoint_to_name(&checkpoint);
	if (disk->read_only) { /* nothing can be committed, nor removed */
		again = chain_plan_outdated(wish, disk, RIG_INSTANT(5));
		g_assert_cmpuint(again->len, ==, 0);
		return;
	}
	remove_outdated(wish, disk);
	chain_disk_add(disk, disk->node, name)->recording = true;
	check_left(wish, disk);
	again = chain_plan_outdated(wish, disk, RIG_INSTANT(5));
	g_assert_cmpuint(again->len, ==, 0);
}

static void test_outdated_random(void)
{
	for (int i = 0; i < 5000; i++) {
		g_autofree char *state = rig_random();
		g_autoptr(GPtrArray) disks = rig_parse(state);
		ChainWish wish = { .chain = RIG_CHAIN,
			.keep = g_test_rand_int_range(1, 5) };

		if (g_test_verbose())
			g_test_message("%s, keep=%u", state, wish.keep);
		for (guint d = 0; d < disks->len; d++)
			check_commit(&wish, disks->pdata[d]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chain-upkeep/disk", test_disk);
	g_test_add_func("/chain-upkeep/instant", test_instant);
	g_test_add_func("/chain-upkeep/instant/last", test_last_instant);
	g_test_add_func("/chain-upkeep/broken", test_broken);
	g_test_add_func("/chain-upkeep/outdated", test_outdated);
	g_test_add_func("/chain-upkeep/outdated/keep-all", test_keep_all);
	g_test_add_func("/chain-upkeep/outdated/random",
		test_outdated_random);
	return g_test_run();
}
