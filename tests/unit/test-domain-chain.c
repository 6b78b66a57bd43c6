/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A chain as libvirt's checkpoints: names, descriptions, bases. */
#include "domain-chain.h"

#include <string.h>

#include "chain-rig.h"

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define OTHER_UUID "6695eb01-f6a4-8304-79aa-97f2502e1940"
#define NAME "fleecefs." RIG_CHAIN "." RIG_INSTANT_TEXT(1) \
	".s8.d0123456789abcdef"
#define MOST_DISKS 4

/* --- descriptions --- */

/* "nightly@1 pending vda=5@1": of each disk its size and since when it is as
 * it was. */
static char *describe(const DomainCheckpoint *checkpoint)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "%s@%d %s", checkpoint->chain,
		(int)(checkpoint->instant_ms - RIG_INSTANT(0)),
		checkpoint->pending ? "pending" : "committed");
	for (guint i = 0; i < checkpoint->disks->len; i++) {
		const DomainPart *part = checkpoint->disks->pdata[i];

		g_string_append_printf(text, " %s=%" G_GUINT64_FORMAT "@%d",
			part->target, part->size,
			(int)(part->content_ms - RIG_INSTANT(0)));
	}
	return g_string_free(text, FALSE);
}

static const struct {
	const char *description, *expected;
} understood[] = {
	{ "fleecefs pending", "nightly@1 pending" },
	{ "fleecefs committed", "nightly@1 committed" },
	{ "fleecefs pending vda=5", "nightly@1 pending vda=5@1" },
	{ "fleecefs pending vda=5 vdb=0",
		"nightly@1 pending vda=5@1 vdb=0@1" },
	{ "fleecefs committed vda=5:" RIG_INSTANT_TEXT(1),
		"nightly@1 committed vda=5@1" },
	{ "fleecefs committed vda=5:" RIG_INSTANT_TEXT(0) " vdb=6:"
		RIG_INSTANT_TEXT(1), "nightly@1 committed vda=5@0 vdb=6@1" },
	{ "fleecefs committed vda=18446744073709551615",
		"nightly@1 committed vda=18446744073709551615@1" },
	{ "fleecefs committed ubd:a=5", "nightly@1 committed ubd:a=5@1" },
};

static void test_understood(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(understood); i++) {
		g_autoptr(DomainCheckpoint) checkpoint =
			domain_checkpoint_parse(NAME,
				understood[i].description);
		g_autofree char *text = NULL;

		g_test_message("%s", understood[i].description);
		g_assert_nonnull(checkpoint);
		g_assert_cmpstr(checkpoint->name, ==, NAME);
		text = describe(checkpoint);
		g_assert_cmpstr(text, ==, understood[i].expected);
	}
}

/* Of somebody else's, or of ours with a description that was changed. */
static const char *const not_ours[] = {
	"", " ", "fleecefs", "fleecefs ", " fleecefs pending", "my backup",
	"Fleecefs pending", "fleecefs Pending", "fleecefs gone",
	"fleecefs  pending", "fleecefs pending ", "fleecefs pending  vda=5",
	"fleecefs pending vda=5 ", "fleecefs pending\nvda=5",
	"fleecefs pending vda", "fleecefs pending vda=", "fleecefs pending =5",
	"fleecefs pending =", "fleecefs pending vda=x",
	"fleecefs pending vda=-5", "fleecefs pending vda=+5",
	"fleecefs pending vda=5x", "fleecefs pending vda=0x5",
	"fleecefs pending vda=18446744073709551616",
	"fleecefs pending vda=5=6", "fleecefs pending vda=5 vdb",
	"fleecefs committed vda=5:", "fleecefs committed vda=:",
	"fleecefs committed vda=:" RIG_INSTANT_TEXT(1),
	"fleecefs committed vda=5:20270115",
	"fleecefs committed vda=5:20270230T080000000Z",
	"fleecefs committed vda=5:" RIG_INSTANT_TEXT(1) ":",
};

static void test_not_ours(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(not_ours); i++) {
		g_test_message("'%s'", not_ours[i]);
		g_assert_null(domain_checkpoint_parse(NAME, not_ours[i]));
	}
}

static void test_names_that_are_not_ours(void)
{
	static const char *const names[] = { "", "virtnbdbackup.1", "fleecefs",
		"fleecefs.nightly", NAME ".x", "x" NAME,
		"fleecefs.a/b." RIG_INSTANT_TEXT(1) ".s8.d0123456789abcdef",
		"fleecefs.a." RIG_INSTANT_TEXT(1) ".s8.d0123456789abcdeF" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_test_message("'%s'", names[i]);
		g_assert_null(domain_checkpoint_parse(names[i],
			"fleecefs pending vda=8"));
	}
}

static void test_formatted(void)
{
	g_autoptr(DomainCheckpoint) checkpoint = domain_checkpoint_new(
		RIG_CHAIN, RIG_INSTANT(1));
	g_autofree char *name = NULL;
	g_autofree char *pending = NULL;
	g_autofree char *committed = NULL;

	g_assert_true(checkpoint->pending);
	domain_checkpoint_add(checkpoint, "vda", 5, RIG_INSTANT(1));
	domain_checkpoint_add(checkpoint, "vdb", 6, RIG_INSTANT(0));
	name = domain_checkpoint_name(checkpoint, UUID);
	g_assert_true(g_str_has_prefix(name, "fleecefs." RIG_CHAIN "."
		RIG_INSTANT_TEXT(1) ".s11.d"));
	pending = domain_checkpoint_description(checkpoint);
	g_assert_cmpstr(pending, ==, "fleecefs pending vda=5 vdb=6");
	checkpoint->pending = false;
	committed = domain_checkpoint_description(checkpoint);
	g_assert_cmpstr(committed, ==, "fleecefs committed vda=5:"
		RIG_INSTANT_TEXT(1) " vdb=6:" RIG_INSTANT_TEXT(0));
}

/* The domain's, and nothing but it, is in the name beside what stands there
 * in clear. */
static void test_identity(void)
{
	g_autoptr(DomainCheckpoint) checkpoint = domain_checkpoint_new(
		RIG_CHAIN, RIG_INSTANT(1));
	g_autofree char *pending = domain_checkpoint_name(checkpoint, UUID);
	g_autofree char *committed = NULL;
	g_autofree char *other = NULL;

	checkpoint->pending = false;
	committed = domain_checkpoint_name(checkpoint, UUID);
	g_assert_cmpstr(pending, ==, committed);
	other = domain_checkpoint_name(checkpoint, OTHER_UUID);
	g_assert_cmpstr(pending, !=, other);
}

/* --- bases --- */

static void add_part(DomainCheckpoint *checkpoint, const char *word)
{
	g_auto(GStrv) target = g_strsplit(word, "/", 2);
	uint64_t size = RIG_SIZE;
	gint64 content_ms = checkpoint->instant_ms;

	if (g_strcmp0(target[1], "resized") == 0)
		size /= 2;
	else if (g_strcmp0(target[1], "old-content") == 0)
		content_ms = RIG_INSTANT(0);
	domain_checkpoint_add(checkpoint, target[0], size, content_ms);
}

/*
 * "2/pending vda vdb/resized": a checkpoint of the instant 2 on two disks.
 * It may be /pending, of the /other chain or of a /clone, another domain.
 */
static DomainCheckpoint *parse_checkpoint(const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	g_auto(GStrv) what = g_strsplit(words[0], "/", -1);
	const char *const *flags = (const char *const *)what + 1;
	g_autoptr(DomainCheckpoint) made = domain_checkpoint_new(
		g_strv_contains(flags, "other") ? RIG_OTHER_CHAIN : RIG_CHAIN,
		RIG_INSTANT(g_ascii_strtoll(what[0], NULL, 10)));
	DomainCheckpoint *read;
	g_autofree char *name = NULL;
	g_autofree char *description = NULL;

	made->pending = g_strv_contains(flags, "pending");
	for (char **word = words + 1; *word; word++)
		add_part(made, *word);
	name = domain_checkpoint_name(made, g_strv_contains(flags, "clone") ?
		OTHER_UUID : UUID);
	description = domain_checkpoint_description(made);
	read = domain_checkpoint_parse(name, description);
	g_assert_nonnull(read);
	return read;
}

static GPtrArray *parse_checkpoints(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, ", ", -1);
	GPtrArray *list = g_ptr_array_new_with_free_func(
		(GDestroyNotify)domain_checkpoint_free);

	for (char **part = parts; *part; part++)
		g_ptr_array_add(list, parse_checkpoint(*part));
	return list;
}

/* "vda vdb/ro": the disks that the domain has. */
static GPtrArray *parse_disks(const GPtrArray *checkpoints, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);
	GPtrArray *disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)chain_disk_free);

	for (char **word = words; *word; word++) {
		g_auto(GStrv) what = g_strsplit(*word, "/", 2);
		ChainDisk *disk = domain_chain_disk(checkpoints, UUID, what[0],
			RIG_SIZE);

		disk->keeps = g_strcmp0(what[1], "raw") != 0;
		disk->read_only = g_strcmp0(what[1], "ro") == 0;
		disk->chosen = g_strcmp0(what[1], "out") != 0;
		g_ptr_array_add(disks, disk);
	}
	return disks;
}

/* A base bears the name of libvirt's checkpoint. */
static int instant_of(const GPtrArray *checkpoints, const ChainBitmap *base)
{
	for (guint i = 0; i < checkpoints->len; i++) {
		const DomainCheckpoint *checkpoint = checkpoints->pdata[i];

		if (g_str_equal(checkpoint->name, base->name))
			return checkpoint->instant_ms - RIG_INSTANT(0);
	}
	g_error("%s is no checkpoint", base->name);
}

static char *plan(const char *state, const char *domain, int since)
{
	g_autoptr(GPtrArray) checkpoints = parse_checkpoints(state);
	g_autoptr(GPtrArray) disks = parse_disks(checkpoints, domain);
	const ChainWish wish = { .chain = RIG_CHAIN, .keep = 1,
		.since_ms = since ? RIG_INSTANT(since) : 0 };
	GString *text = g_string_new(NULL);
	ChainBase bases[MOST_DISKS];

	g_assert_cmpuint(disks->len, <=, MOST_DISKS);
	g_assert_true(chain_plan_bases(&wish, rig_disks(disks), disks->len,
		bases, NULL));
	for (guint i = 0; i < disks->len; i++) {
		g_string_append_printf(text, "%s%s=", i ? " " : "",
			rig_disks(disks)[i]->id);
		if (bases[i].base)
			g_string_append_printf(text, "%d",
				instant_of(checkpoints, bases[i].base));
		else
			g_string_append(text, bases[i].reason);
	}
	return g_string_free(text, FALSE);
}

typedef struct {
	const char *name, *checkpoints, *disks, *expected;
	int since;
} BaseCase;

static const BaseCase base_cases[] = {
	{ "first", "", "vda vdb", "vda=first vdb=first" },
	{ "pending", "1/pending vda", "vda", "vda=first" },
	{ "other", "1/other vda", "vda", "vda=first" },
	{ "one", "1 vda", "vda", "vda=1" },
	{ "both", "1 vda vdb", "vda vdb", "vda=1 vdb=1" },
	{ "newest", "1 vda, 3 vda, 2 vda", "vda", "vda=3" },
	{ "newest-pending", "1 vda, 2/pending vda", "vda", "vda=1" },
	{ "newest-other", "1 vda, 2/other vda", "vda", "vda=1" },
	{ "old-content", "1 vda/old-content", "vda", "vda=1" },
	{ "plugged", "1 vda", "vda vdb", "vda=1 vdb=new-disk" },
	{ "raw", "1 vda", "vda vdb/raw", "vda=1 vdb=transient-lost" },
	{ "unplugged", "1 vda vdb", "vda", "vda=1" },
	{ "plugged-again", "1 vda vdb, 2 vda", "vda vdb",
		"vda=2 vdb=new-disk" },
	{ "resized", "1 vda/resized vdb", "vda vdb", "vda=resized vdb=1" },
	{ "read-only", "1 vda vdb", "vda vdb/ro", "vda=1 vdb=read-only" },
	{ "out", "1 vda, 2 vdb", "vda vdb/out", "vda=new-disk vdb=2" },
	{ "since", "1 vda, 2 vda", "vda", "vda=1", 1 },
	{ "since-partly", "1 vda, 2 vda vdb", "vda vdb",
		"vda=1 vdb=since-missing", 1 },
	{ "twice", "1 vda, 1 vdb", "vda vdb", "vda=1 vdb=1" },
	{ "clone", "1/clone vda", "vda", "vda=foreign-base" },
	{ "clone-and-own", "1/clone vda, 2 vda", "vda", "vda=2" },
	{ "clone-newer", "1 vda, 2/clone vda", "vda", "vda=1" },
	{ "clone-pending", "1/clone/pending vda", "vda", "vda=first" },
};

static void test_base(gconstpointer data)
{
	const BaseCase *this = data;
	g_autofree char *text = plan(this->checkpoints, this->disks,
		this->since);

	g_assert_cmpstr(text, ==, this->expected);
}

/* What stands in a name of QEMU's comes out of a description, too. */
static void test_facts(void)
{
	g_autoptr(GPtrArray) checkpoints = parse_checkpoints(
		"1 vda vdb/old-content, 2/pending vda");
	g_autoptr(ChainDisk) vda = domain_chain_disk(checkpoints, UUID, "vda",
		7);
	g_autoptr(ChainDisk) vdb = domain_chain_disk(checkpoints, UUID, "vdb",
		7);
	const ChainBitmap *bitmap = vdb->bitmaps->pdata[0];

	g_assert_cmpstr(vda->id, ==, "vda");
	g_assert_cmpuint(vda->size, ==, 7);
	g_assert_cmpuint(vda->bitmaps->len, ==, 2);
	g_assert_cmpuint(vdb->bitmaps->len, ==, 1);
	g_assert_cmpstr(vda->identity, !=, vdb->identity);
	g_assert_cmpstr(bitmap->checkpoint->identity, ==, vdb->identity);
	g_assert_cmpuint(bitmap->checkpoint->size, ==, RIG_SIZE);
	g_assert_cmpint(bitmap->checkpoint->content_ms, ==, RIG_INSTANT(0));
	g_assert_cmpint(bitmap->checkpoint->instant_ms, ==, RIG_INSTANT(1));
	g_assert_true(bitmap->recording);
	bitmap = vda->bitmaps->pdata[1];
	g_assert_true(bitmap->checkpoint->pending);
}

/* --- what a commit deletes --- */

static const struct {
	const char *checkpoints;
	int instant;
	unsigned keep;
	const char *expected;
} outdated_cases[] = {
	{ "", 1, 1, "" },
	{ "1 vda", 1, 1, "" },
	{ "1 vda, 2 vda", 2, 1, "1" },
	{ "1 vda, 2 vda", 2, 2, "" },
	{ "1 vda, 2 vda, 3 vda", 3, 1, "1 2" },
	{ "3 vda, 1 vda, 2 vda", 3, 2, "1" },
	{ "1 vda, 2 vda, 3 vda", 3, 3, "" },
	{ "1 vda, 2/pending vda, 3 vda", 3, 1, "1" },
	{ "1 vda, 2/pending vda, 3 vda", 3, 2, "" },
	{ "1/other vda, 2 vda", 2, 1, "" },
	{ "1 vda, 2/other vda, 3 vda", 3, 2, "" },
	{ "1 vda, 2 vda, 3 vda", 2, 1, "1" },
	{ "1 vda, 2 vdb", 2, 1, "1" },
};

static void test_outdated(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(outdated_cases); i++) {
		g_autoptr(GPtrArray) list = parse_checkpoints(
			outdated_cases[i].checkpoints);
		g_autoptr(GPtrArray) names = domain_chain_outdated(list,
			RIG_CHAIN, RIG_INSTANT(outdated_cases[i].instant),
			outdated_cases[i].keep);
		g_autoptr(GString) text = g_string_new(NULL);

		for (guint k = 0; k < names->len; k++) {
			const ChainBitmap base = { .name = names->pdata[k] };

			g_string_append_printf(text, "%s%d", k ? " " : "",
				instant_of(list, &base));
		}
		g_test_message("%u", i);
		g_assert_cmpstr(text->str, ==, outdated_cases[i].expected);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain-chain/understood", test_understood);
	g_test_add_func("/domain-chain/not-ours", test_not_ours);
	g_test_add_func("/domain-chain/names-that-are-not-ours",
		test_names_that_are_not_ours);
	g_test_add_func("/domain-chain/formatted", test_formatted);
	g_test_add_func("/domain-chain/identity", test_identity);
	for (size_t i = 0; i < G_N_ELEMENTS(base_cases); i++) {
		g_autofree char *path = g_strconcat("/domain-chain/base/",
			base_cases[i].name, NULL);

		g_test_add_data_func(path, &base_cases[i], test_base);
	}
	g_test_add_func("/domain-chain/facts", test_facts);
	g_test_add_func("/domain-chain/outdated", test_outdated);
	return g_test_run();
}
