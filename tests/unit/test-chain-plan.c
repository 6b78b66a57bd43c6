/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain-plan.h"

#include <errno.h>
#include <string.h>

#include "chain-rig.h"
#include "fleece-error.h"

#define MOST_DISKS 4

static gint64 instant_of(const ChainBitmap *bitmap)
{
	return bitmap->checkpoint->instant_ms - RIG_INSTANT(0);
}

static void check_base(const ChainDisk *disk, const ChainBase *base)
{
	const ChainBitmap *bitmap = base->base;

	g_assert_true((base->base == NULL) == (base->reason != NULL));
	if (bitmap)
		g_assert_true(g_ptr_array_find(disk->bitmaps, bitmap, NULL));
}

/* "va=1 vb=new-disk": the bases, and why there is none. */
static char *bases_text(const GPtrArray *disks, const ChainBase *bases)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < disks->len; i++) {
		const ChainDisk *disk = rig_disks(disks)[i];

		check_base(disk, &bases[i]);
		g_string_append_printf(text, "%s%s=", i ? " " : "", disk->id);
		if (bases[i].base)
			g_string_append_printf(text, "%" G_GINT64_FORMAT,
				instant_of(bases[i].base));
		else
			g_string_append(text, bases[i].reason);
	}
	return g_string_free(text, FALSE);
}

/* since=k, or the newest for 0. */
static ChainWish since(int k)
{
	return (ChainWish){ .chain = RIG_CHAIN, .keep = 1,
		.since_ms = k ? RIG_INSTANT(k) : 0 };
}

static bool plan(const ChainWish *wish, const GPtrArray *disks,
	ChainBase *bases, GError **error)
{
	g_assert_cmpuint(disks->len, <=, MOST_DISKS);
	return chain_plan_bases(wish, rig_disks(disks), disks->len, bases,
		error);
}

typedef struct {
	const char *name;
	const char *state;
	const char *expected;
	int since; /* 0: the newest */
} BaseCase;

static const BaseCase base_cases[] = {
	{ "first/disks", "va | vb,raw | vc,out", "va=first vb=first vc=first" },
	{ "first/pending", "va 1/pending", "va=first" },
	{ "first/other", "va 1/other", "va=first" },
	{ "first/linked-clone", "va 1/clone/lower", "va=first" },

	{ "incremental/one", "va 1", "va=1" },
	{ "incremental/disks", "va 1 | vb 1 | vc,raw 1", "va=1 vb=1 vc=1" },
	{ "incremental/newest", "va 1 3 2 | vb 2 3", "va=3 vb=3" },
	{ "incremental/pending", "va 1 2/pending", "va=1" },
	{ "incremental/other", "va 1 2/other 1/other", "va=1" },
	{ "incremental/content", "va 1 2/old-content", "va=2" },

	{ "new-disk/plugged", "va 1 | vb", "va=1 vb=new-disk" },
	{ "new-disk/detached", "va 1 2 | vb 1", "va=2 vb=new-disk" },
	{ "new-disk/pending", "va 2 | vb 2/pending", "va=2 vb=new-disk" },
	{ "new-disk/other", "va 2 | vb 2/other", "va=2 vb=new-disk" },
	{ "new-disk/clone", "va 1 | vb 1/clone/lower", "va=1 vb=new-disk" },

	{ "transient/none", "va 1 | vb,raw", "va=1 vb=transient-lost" },
	{ "transient/older", "va 1 2 | vb,raw 1", "va=2 vb=transient-lost" },

	{ "inconsistent/all", "va 1/inconsistent", "va=inconsistent" },
	{ "inconsistent/newest", "va 1 2/inconsistent", "va=inconsistent" },
	{ "inconsistent/one", "va 2 | vb 1 2/inconsistent",
		"va=2 vb=inconsistent" },
	{ "inconsistent/older", "va 1/inconsistent 2", "va=2" },
	{ "inconsistent/other", "va 1 1/other/inconsistent", "va=1" },

	{ "not-recording/newest", "va 1 2/stopped", "va=not-recording" },
	{ "not-recording/one", "va 1 | vb 1/stopped", "va=1 vb=not-recording" },
	{ "not-recording/older", "va 1/stopped 2", "va=2" },

	{ "resized/newest", "va 1/resized 2/resized", "va=resized" },
	{ "resized/one", "va 1 | vb 1/resized", "va=1 vb=resized" },
	{ "resized/since", "va 1/resized 2", "va=2" },

	{ "foreign/swapped", "va 1/of-vb | vb 1/of-va",
		"va=foreign-base vb=foreign-base" },
	{ "foreign/clone", "va 1/clone | vb 1/clone",
		"va=foreign-base vb=foreign-base" },
	{ "foreign/raw", "va,raw 1/clone", "va=foreign-base" },
	{ "foreign/one", "va 1 | vb 1/clone", "va=1 vb=foreign-base" },
	{ "foreign/own-again", "va 1/clone 2", "va=2" },
	{ "foreign/newer", "va 1 | vb 2/clone", "va=1 vb=foreign-base" },
	{ "foreign/pending", "va 1/clone/pending", "va=first" },
	{ "foreign/other", "va 1/clone/other", "va=first" },

	{ "layer/only", "va 1/lower", "va=layer" },
	{ "layer/raw", "va,raw 1/lower", "va=layer" },
	{ "layer/one", "va 1 | vb 1/lower", "va=1 vb=layer" },
	{ "layer/copied", "va 1 1/lower", "va=layer" },
	{ "layer/copied-first", "va 1/lower 1", "va=layer" },
	{ "layer/copied-one", "va 1 | vb 1 1/lower", "va=1 vb=layer" },
	{ "layer/newer-on-top", "va 1 1/lower 2", "va=2" },
	{ "layer/other", "va 1 1/lower/other", "va=1" },
	{ "layer/newer-below", "va 1 2/lower | vb 1", "va=layer vb=1" },
	{ "layer/older-below", "va 1/lower 2 | vb 3", "va=new-disk vb=3" },
	{ "layer/pending", "va 1/pending/lower | vb 1", "va=layer vb=1" },
	{ "layer/of-no-base", "va 2 1/pending/lower", "va=2" },

	{ "busy/newest", "va 1 2/busy", "va=busy" },
	{ "busy/one", "va 1 | vb 1/busy", "va=1 vb=busy" },
	{ "busy/older", "va 1/busy 2", "va=2" },

	{ "read-only/none", "va,ro", "va=read-only" },
	{ "read-only/one", "va 1 | vb,ro 1", "va=1 vb=read-only" },
	{ "read-only/raw", "va 1 | vb,ro,raw", "va=1 vb=read-only" },

	{ "not-chosen/newest", "va 1 | vb,out 1 2", "va=new-disk vb=2" },
	{ "not-chosen/older", "va 1 2 | vb,out 1", "va=2 vb=new-disk" },

	{ "since/oldest", "va 1 2 3", "va=1", 1 },
	{ "since/middle", "va 3 2 1", "va=2", 2 },
	{ "since/newest", "va 1 2 3", "va=3", 3 },
	{ "since/partly", "va 1 2 | vb 2", "va=1 vb=since-missing", 1 },
	{ "since/partly-raw", "va 1 2 | vb,raw 2", "va=1 vb=since-missing",
		1 },
	{ "since/partly-new", "va 1 2 | vb", "va=1 vb=new-disk", 1 },
	{ "since/partly-bad", "va 1 2 | vb 1/inconsistent 2",
		"va=1 vb=inconsistent", 1 },
	{ "since/partly-layer", "va 1 2 | vb 1/lower 2", "va=1 vb=layer", 1 },
	{ "since/newest-bad", "va 1 2/inconsistent", "va=1", 1 },
	{ "since/not-chosen", "va 1 | vb,out", "va=1 vb=new-disk", 1 },
};

static void test_base(gconstpointer data)
{
	const BaseCase *this = data;
	g_autoptr(GPtrArray) disks = rig_parse(this->state);
	g_autoptr(GError) error = NULL;
	ChainWish wish = since(this->since);
	ChainBase bases[MOST_DISKS];
	g_autofree char *text = NULL;

	g_assert_true(plan(&wish, disks, bases, &error));
	g_assert_no_error(error);
	text = bases_text(disks, bases);
	g_assert_cmpstr(text, ==, this->expected);
}

/* The naive plan: what is the chain's and this disk's own, on some layer. */
static bool is_own(const ChainDisk *disk, const ChainBitmap *bitmap)
{
	const Checkpoint *checkpoint = bitmap->checkpoint;

	return g_str_equal(checkpoint->chain, RIG_CHAIN) &&
		!checkpoint->pending &&
		g_str_equal(checkpoint->identity, disk->identity);
}

static gint64 model_newest(const GPtrArray *disks)
{
	gint64 newest = 0;

	for (guint i = 0; i < disks->len; i++) {
		const ChainDisk *disk = rig_disks(disks)[i];

		for (guint b = 0; b < disk->bitmaps->len; b++) {
			ChainBitmap *bitmap = disk->bitmaps->pdata[b];

			if (is_own(disk, bitmap) && !bitmap->lower)
				newest = MAX(newest,
					bitmap->checkpoint->instant_ms);
		}
	}
	return newest;
}

static const ChainBitmap *model_base(const ChainDisk *disk, gint64 ms)
{
	const ChainBitmap *found = NULL;

	for (guint b = 0; b < disk->bitmaps->len; b++) {
		const ChainBitmap *bitmap = disk->bitmaps->pdata[b];

		if (!is_own(disk, bitmap))
			continue;
		if (bitmap->lower && bitmap->checkpoint->instant_ms >= ms)
			return NULL;
		if (bitmap->lower || bitmap->checkpoint->instant_ms != ms)
			continue;
		if (bitmap->recording && !bitmap->inconsistent &&
		    !bitmap->busy && bitmap->checkpoint->size == disk->size)
			found = bitmap;
	}
	return disk->read_only ? NULL : found;
}

static void check_random(const ChainWish *wish, const GPtrArray *disks)
{
	gint64 ms = wish->since_ms ? wish->since_ms : model_newest(disks);
	ChainBase bases[MOST_DISKS];
	bool any = false;
	bool done = plan(wish, disks, bases, NULL);

	for (guint i = 0; i < disks->len; i++) {
		const ChainDisk *disk = rig_disks(disks)[i];
		const ChainBitmap *expected = model_base(disk, ms);

		any |= disk->chosen && expected;
		if (!done)
			continue;
		check_base(disk, &bases[i]);
		g_assert_true(bases[i].base == expected);
	}
	g_assert_true(done == (any || !wish->since_ms || wish->fallback_full));
}

static void test_random(void)
{
	for (int i = 0; i < 8000; i++) {
		g_autofree char *state = rig_random();
		g_autoptr(GPtrArray) disks = rig_parse(state);
		int k = g_test_rand_int_range(0, 5);
		ChainWish wish = since(k);

		if (g_test_verbose())
			g_test_message("%s, since=%d", state, k);
		wish.fallback_full = g_test_rand_bit();
		check_random(&wish, disks);
	}
}

/* Where nothing can start from the instant 1. */
static const char *const without_since[] = {
	"va", "va 2", "va 2 | vb 3", "va,raw", "va 1/pending", "va 1/other",
	"va 1/inconsistent", "va 1/stopped 2", "va 1/resized 2", "va 1/busy",
	"va 1/clone 2", "va 1/of-vb | vb 1/of-va", "va 1/lower 2",
	"va 1 1/lower 2",
	"va 1 2 2/lower", "va,ro 1", "va,out 1", "va 2 | vb,out 1 2",
};

static void check_refused(const ChainWish *wish, const GPtrArray *disks)
{
	g_autoptr(GError) error = NULL;
	ChainBase bases[MOST_DISKS];

	g_assert_false(plan(wish, disks, bases, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_assert_false(plan(wish, disks, bases, NULL));
}

static void check_full(const ChainWish *wish, const GPtrArray *disks)
{
	g_autoptr(GError) error = NULL;
	ChainBase bases[MOST_DISKS];

	g_assert_true(plan(wish, disks, bases, &error));
	g_assert_no_error(error);
	for (guint i = 0; i < disks->len; i++) {
		check_base(rig_disks(disks)[i], &bases[i]);
		g_assert_false(rig_disks(disks)[i]->chosen && bases[i].base);
	}
}

static void test_since_missing(void)
{
	ChainWish wish = since(1);
	ChainWish fallback = wish;

	fallback.fallback_full = true;
	for (size_t i = 0; i < G_N_ELEMENTS(without_since); i++) {
		g_autoptr(GPtrArray) disks = rig_parse(without_since[i]);

		g_test_message("%s", without_since[i]);
		check_refused(&wish, disks);
		check_full(&fallback, disks);
	}
}

/* Without since=, nothing is an error. */
static void test_never_refused(void)
{
	ChainWish wish = since(0);

	for (size_t i = 0; i < G_N_ELEMENTS(base_cases); i++) {
		g_autoptr(GPtrArray) disks = rig_parse(base_cases[i].state);
		ChainBase bases[MOST_DISKS];

		g_assert_true(plan(&wish, disks, bases, NULL));
	}
	g_assert_true(chain_plan_bases(&wish, NULL, 0, NULL, NULL));
}

/* fallback=full is for what is missing, not for what is there. */
static void test_fallback_not_needed(void)
{
	ChainWish wish = since(1);
	g_autoptr(GPtrArray) disks = rig_parse("va 1 2 | vb 2");
	ChainBase bases[MOST_DISKS];
	g_autofree char *text = NULL;

	wish.fallback_full = true;
	g_assert_true(plan(&wish, disks, bases, NULL));
	text = bases_text(disks, bases);
	g_assert_cmpstr(text, ==, "va=1 vb=since-missing");
}

/* It names what was wanted and what can be wanted. */
static void test_since_message(void)
{
	static const char *const told[] = { RIG_CHAIN, RIG_INSTANT_TEXT(9),
		"va", RIG_INSTANT_TEXT(1), RIG_INSTANT_TEXT(2), "vb", "none",
		"vc", "inconsistent", "fallback=full" };
	static const char *const not_told[] = { RIG_INSTANT_TEXT(3),
		RIG_INSTANT_TEXT(4), RIG_INSTANT_TEXT(5), RIG_INSTANT_TEXT(6),
		RIG_OTHER_CHAIN };
	ChainWish wish = since(9);
	g_autoptr(GPtrArray) disks = rig_parse("va 1 2 6/other"
		" | vb 3/clone 4/lower 5/pending | vc 9/inconsistent");
	g_autoptr(GError) error = NULL;
	ChainBase bases[MOST_DISKS];

	g_assert_false(plan(&wish, disks, bases, &error));
	g_test_message("%s", error->message);
	for (size_t i = 0; i < G_N_ELEMENTS(told); i++)
		g_assert_nonnull(strstr(error->message, told[i]));
	for (size_t i = 0; i < G_N_ELEMENTS(not_told); i++)
		g_assert_null(strstr(error->message, not_told[i]));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(base_cases); i++) {
		g_autofree char *path = g_strconcat("/chain-plan/base/",
			base_cases[i].name, NULL);

		g_test_add_data_func(path, &base_cases[i], test_base);
	}
	g_test_add_func("/chain-plan/base/random", test_random);
	g_test_add_func("/chain-plan/never-refused", test_never_refused);
	g_test_add_func("/chain-plan/since/missing", test_since_missing);
	g_test_add_func("/chain-plan/since/message", test_since_message);
	g_test_add_func("/chain-plan/since/fallback-not-needed",
		test_fallback_not_needed);
	return g_test_run();
}
