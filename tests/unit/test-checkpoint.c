/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checkpoint.h"

#include <string.h>

/* The parts of the examples in the documents. */
#define INSTANT "20261120T234501123Z"
#define INSTANT_MS G_GINT64_CONSTANT(1795218301123)
#define OLDER "20261118T234500001Z"
#define OLDER_MS G_GINT64_CONSTANT(1795045500001)
#define LATER "20261121T234500456Z"
#define LATER_MS G_GINT64_CONSTANT(1795304700456)
#define SIZE "68719476736"
#define SIZE_BYTES (UINT64_C(1) << 36)
#define IDENTITY "3f0c2a917be45d10"

#define HEAD "fleecefs.nightly." INSTANT ".s" SIZE ".d"
#define NAME HEAD IDENTITY

/* What QEMU allows, without the NUL. */
#define QEMU_NAME_MAX 1023

static void check_known(const char *name, gint64 instant_ms, gint64 content_ms,
	bool pending)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);
	g_autofree char *again = NULL;

	g_assert_nonnull(checkpoint);
	g_assert_cmpstr(checkpoint->chain, ==, "nightly");
	g_assert_cmpint(checkpoint->instant_ms, ==, instant_ms);
	g_assert_cmpuint(checkpoint->size, ==, SIZE_BYTES);
	g_assert_cmpstr(checkpoint->identity, ==, IDENTITY);
	g_assert_cmpint(checkpoint->content_ms, ==, content_ms);
	g_assert_true(checkpoint->pending == pending);
	again = checkpoint_to_name(checkpoint);
	g_assert_cmpstr(again, ==, name);
}

static void test_examples(void)
{
	check_known("fleecefs.nightly.20261120T234501123Z.s68719476736"
		".d3f0c2a917be45d10", INSTANT_MS, INSTANT_MS, false);
	check_known("fleecefs.nightly.20261120T234501123Z.s68719476736"
		".d3f0c2a917be45d10.c20261118T234500001Z",
		INSTANT_MS, OLDER_MS, false);
	check_known("fleecefs.nightly.20261121T234500456Z.s68719476736"
		".d3f0c2a917be45d10.pending", LATER_MS, LATER_MS, true);
}

static void check_to_name(Checkpoint checkpoint, const char *expected)
{
	g_autofree char *name = NULL;

	checkpoint.chain = (char *)"nightly";
	strcpy(checkpoint.identity, IDENTITY);
	name = checkpoint_to_name(&checkpoint);
	g_assert_cmpstr(name, ==, expected);
}

static void test_to_name(void)
{
	Checkpoint committed = { .instant_ms = INSTANT_MS,
		.content_ms = INSTANT_MS, .size = SIZE_BYTES };
	Checkpoint content = committed;
	Checkpoint pending = committed;
	Checkpoint small = committed;

	content.content_ms = OLDER_MS;
	pending.pending = true;
	small.size = 0;
	check_to_name(committed, NAME);
	check_to_name(content, NAME ".c" OLDER);
	check_to_name(pending, NAME ".pending");
	check_to_name(small, "fleecefs.nightly." INSTANT ".s0.d" IDENTITY);
}

static char *random_chain(void)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"abcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t length = g_test_rand_int_range(1, 201);
	char *chain = g_malloc0(length + 1);

	for (size_t i = 0; i < length; i++)
		chain[i] = allowed[g_test_rand_int_range(0,
			sizeof(allowed) - 1)];
	return chain;
}

static uint64_t random_u64(void)
{
	uint64_t high = (uint32_t)g_test_rand_int();

	return high << 32 | (uint32_t)g_test_rand_int();
}

/* An instant up to the year 9999. */
static gint64 random_ms(void)
{
	return random_u64() % UINT64_C(253402300800000);
}

static Checkpoint *random_checkpoint(void)
{
	Checkpoint *checkpoint = g_new0(Checkpoint, 1);

	checkpoint->chain = random_chain();
	checkpoint->instant_ms = random_ms();
	checkpoint->size = random_u64() >> g_test_rand_int_range(0, 64);
	g_snprintf(checkpoint->identity, sizeof(checkpoint->identity),
		"%016" G_GINT64_MODIFIER "x", (guint64)random_u64());
	checkpoint->pending = g_test_rand_bit();
	checkpoint->content_ms = checkpoint->instant_ms;
	if (!checkpoint->pending && g_test_rand_bit())
		checkpoint->content_ms = random_u64() %
			(checkpoint->instant_ms + 1);
	return checkpoint;
}

static void check_equal(const Checkpoint *a, const Checkpoint *b)
{
	g_assert_cmpstr(a->chain, ==, b->chain);
	g_assert_cmpint(a->instant_ms, ==, b->instant_ms);
	g_assert_cmpuint(a->size, ==, b->size);
	g_assert_cmpstr(a->identity, ==, b->identity);
	g_assert_cmpint(a->content_ms, ==, b->content_ms);
	g_assert_true(a->pending == b->pending);
}

static void test_random(void)
{
	for (int i = 0; i < 5000; i++) {
		g_autoptr(Checkpoint) checkpoint = random_checkpoint();
		g_autofree char *name = checkpoint_to_name(checkpoint);
		g_autoptr(Checkpoint) again = checkpoint_from_name(name);

		g_assert_cmpuint(strlen(name), <=, QEMU_NAME_MAX);
		g_assert_nonnull(again);
		check_equal(again, checkpoint);
	}
}

static void check_size(const char *digits, uint64_t size)
{
	g_autofree char *name = g_strconcat("fleecefs.nightly." INSTANT ".s",
		digits, ".d" IDENTITY, NULL);
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);

	g_assert_nonnull(checkpoint);
	g_assert_cmpuint(checkpoint->size, ==, size);
}

static void test_sizes(void)
{
	check_size("0", 0);
	check_size("1", 1);
	check_size("18446744073709551615", UINT64_MAX);
}

static void test_years(void)
{
	g_autoptr(Checkpoint) first = checkpoint_from_name("fleecefs.a."
		"19700101T000000001Z.s0.d" IDENTITY ".c19700101T000000000Z");
	g_autoptr(Checkpoint) last = checkpoint_from_name("fleecefs.a."
		"99991231T235959999Z.s0.d" IDENTITY);

	g_assert_nonnull(first);
	g_assert_cmpint(first->instant_ms, ==, 1);
	g_assert_cmpint(first->content_ms, ==, 0);
	g_assert_nonnull(last);
}

#define WITH_SIZE(size) "fleecefs.nightly." INSTANT "." size ".d" IDENTITY
#define WITH_INSTANT(text) "fleecefs.nightly." text ".s" SIZE ".d" IDENTITY
#define WITH_CHAIN(chain) "fleecefs." chain "." INSTANT ".s" SIZE ".d" IDENTITY
#define WITH_IDENTITY(text) "fleecefs.nightly." INSTANT ".s" SIZE "." text

static const char *const refused[] = {
	/* other people's bitmaps */
	"", ".", ".....", "bitmap0", "libvirt-1", "1637051234",
	"backup-1795218301", "repository-backup", "pbs-incremental",
	"pbs-incremental-dirty-bitmap", "virtnbdbackup.0", "fleecefs",
	"fleecefs.nightly", "fleecefs.nightly." INSTANT,
	"fleecefs.nightly." INSTANT ".s" SIZE, "fleece." NAME, "x" NAME,
	"FLEECEFS.nightly." INSTANT ".s" SIZE ".d" IDENTITY,
	"fleecefs2.nightly." INSTANT ".s" SIZE ".d" IDENTITY,
	"fl-12345678-va", "nightly." INSTANT ".s" SIZE ".d" IDENTITY,
	/* the size */
	WITH_SIZE("s068719476736"), WITH_SIZE("s00"), WITH_SIZE(SIZE),
	WITH_SIZE("s"), WITH_SIZE(""), WITH_SIZE("S" SIZE),
	WITH_SIZE("s18446744073709551616"), WITH_SIZE("s-1"), WITH_SIZE("s+1"),
	WITH_SIZE("s 1"), WITH_SIZE("s1 "), WITH_SIZE("s0x10"),
	WITH_SIZE("s64G"), WITH_SIZE("s340282366920938463463374607431768211"),
	/* the identity */
	WITH_IDENTITY("d3F0C2A917BE45D10"), WITH_IDENTITY("d3f0c2a917be45d1"),
	WITH_IDENTITY("d3f0c2a917be45d100"), WITH_IDENTITY("d"),
	WITH_IDENTITY(""), WITH_IDENTITY("3f0c2a917be45d10"),
	WITH_IDENTITY("D3f0c2a917be45d10"), WITH_IDENTITY("d3f0c2a917be45d1g"),
	WITH_IDENTITY("d3f0c2a917be45d1 "),
	/* the instant */
	WITH_INSTANT(""), WITH_INSTANT("20261120T234501Z"),
	WITH_INSTANT("20260230T234501123Z"), WITH_INSTANT("now"),
	WITH_INSTANT("19691231T235959999Z"), WITH_INSTANT("c" INSTANT),
	/* what stands behind */
	NAME ".", NAME ".c", NAME ".c" INSTANT, NAME ".c" LATER,
	NAME "." OLDER, NAME ".C" OLDER, NAME ".cc" OLDER,
	NAME ".c20260230T234501123Z", NAME ".c" OLDER " ",
	NAME ".Pending", NAME ".pending ", NAME ".pendin", NAME ".pending.",
	NAME ".pendingx", NAME ".cpending", NAME ".c" OLDER ".pending",
	NAME ".pending.c" OLDER, NAME ".pending.pending", NAME "..pending",
	NAME ".c" OLDER ".", NAME ".c" OLDER ".c" OLDER, NAME " ", NAME "\n",
	/* dots too many, or too few */
	"." NAME, "fleecefs..nightly." INSTANT ".s" SIZE ".d" IDENTITY,
	"fleecefs.nightly.." INSTANT ".s" SIZE ".d" IDENTITY,
	WITH_CHAIN("a.b"), HEAD "." IDENTITY,
	"fleecefsnightly." INSTANT ".s" SIZE ".d" IDENTITY,
	/* the chain */
	WITH_CHAIN(""), WITH_CHAIN(" "), WITH_CHAIN("night ly"),
	WITH_CHAIN("night/ly"), WITH_CHAIN("night\xc3\xa4"),
	WITH_CHAIN("nightly\n"), WITH_CHAIN("*"), WITH_CHAIN("a:b"),
};

static void test_refused(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_test_message("%s", refused[i]);
		g_assert_null(checkpoint_from_name(refused[i]));
	}
}

static char *name_of_chain_length(size_t length)
{
	g_autofree char *chain = g_strnfill(length, 'x');

	return g_strconcat("fleecefs.", chain, "." INSTANT ".s" SIZE
		".d" IDENTITY, NULL);
}

static void test_longest_chain(void)
{
	g_autofree char *long_chain = g_strnfill(200, 'x');
	g_autofree char *too_long_chain = g_strnfill(201, 'x');
	g_autofree char *name = name_of_chain_length(200);
	g_autofree char *too_long = name_of_chain_length(201);
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);

	g_assert_nonnull(checkpoint);
	g_assert_cmpstr(checkpoint->chain, ==, long_chain);
	g_assert_null(checkpoint_from_name(too_long));
	g_assert_true(checkpoint_is_chain_name(long_chain));
	g_assert_false(checkpoint_is_chain_name(too_long_chain));
}

static void test_chain_names(void)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"abcdefghijklmnopqrstuvwxyz0123456789_-";

	g_assert_true(checkpoint_is_chain_name("nightly"));
	g_assert_true(checkpoint_is_chain_name("-"));
	g_assert_true(checkpoint_is_chain_name("pending"));
	g_assert_true(checkpoint_is_chain_name(allowed));
	g_assert_false(checkpoint_is_chain_name(""));
	for (int c = 1; c < 256; c++) {
		char alone[] = { c, '\0' };
		char behind[] = { 'a', c, 'b', '\0' };
		bool good = strchr(allowed, c) != NULL;

		g_assert_true(checkpoint_is_chain_name(alone) == good);
		g_assert_true(checkpoint_is_chain_name(behind) == good);
	}
}

static char *identity(const char *vm, const char *disk)
{
	char *text = g_malloc0(CHECKPOINT_IDENTITY_LENGTH + 1);

	checkpoint_make_identity(vm, disk, text);
	g_assert_cmpuint(strlen(text), ==, CHECKPOINT_IDENTITY_LENGTH);
	return text;
}

static void check_identity(const char *vm, const char *disk,
	const char *expected)
{
	g_autofree char *text = identity(vm, disk);

	g_assert_cmpstr(text, ==, expected);
}

/* Bitmaps outlive us: printf 'VM\0DISK\0' | sha256sum | cut -c -16 */
static void test_identity_is_stable(void)
{
	check_identity("a1b2", "vda", "67f4309e516332f1");
	check_identity("a", "bc", "aa795aa4bbb61179");
	check_identity("", "", "96a296d224f285c6");
}

static void check_differ(const char *vm_a, const char *disk_a,
	const char *vm_b, const char *disk_b)
{
	g_autofree char *a = identity(vm_a, disk_a);
	g_autofree char *b = identity(vm_b, disk_b);

	g_assert_cmpstr(a, !=, b);
}

static void test_identities_differ(void)
{
	check_differ("vm1", "vda", "vm2", "vda");
	check_differ("vm1", "vda", "vm1", "vdb");
	check_differ("vm1", "vda", "vda", "vm1");
	check_differ("a", "bc", "ab", "c");
	check_differ("", "ab", "ab", "");
	check_differ("a", "", "", "a");
}

static void test_identity_in_name(void)
{
	Checkpoint checkpoint = { .chain = (char *)"a" };
	g_autofree char *name = NULL;
	g_autoptr(Checkpoint) again = NULL;

	checkpoint_make_identity("a1b2", "vda", checkpoint.identity);
	name = checkpoint_to_name(&checkpoint);
	again = checkpoint_from_name(name);
	g_assert_nonnull(again);
	g_assert_cmpstr(again->identity, ==, "67f4309e516332f1");
}

static char random_character(void)
{
	static const char likely[] = ".0123456789abcdefTZscdpendingA_- +\n\xff";

	return likely[g_test_rand_int_range(0, sizeof(likely) - 1)];
}

/* Replaces, inserts, removes or doubles something. */
static void mutate(GString *name)
{
	gsize at = g_test_rand_int_range(0, name->len);
	gsize length = g_test_rand_int_range(0, name->len - at);
	g_autofree char *part = g_strndup(name->str + at, MIN(length, 25));

	switch (g_test_rand_int_range(0, 5)) {
	case 0:
		name->str[at] = random_character();
		break;
	case 1:
		g_string_insert_c(name, at, random_character());
		break;
	case 2:
		g_string_erase(name, at, 1);
		break;
	case 3:
		g_string_erase(name, at, strlen(part));
		break;
	default:
		g_string_insert(name, g_test_rand_int_range(0, name->len),
			part);
	}
}

/* Nothing of a checkpoint is what our own could not be. */
static void check_sane(const Checkpoint *checkpoint)
{
	g_assert_true(checkpoint_is_chain_name(checkpoint->chain));
	g_assert_cmpint(checkpoint->instant_ms, >=, 0);
	g_assert_cmpint(checkpoint->content_ms, >=, 0);
	g_assert_cmpint(checkpoint->content_ms, <=, checkpoint->instant_ms);
	g_assert_cmpuint(strlen(checkpoint->identity), ==,
		CHECKPOINT_IDENTITY_LENGTH);
	if (checkpoint->pending)
		g_assert_cmpint(checkpoint->content_ms, ==,
			checkpoint->instant_ms);
}

static bool check_mutated(const char *name)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);
	g_autofree char *again = NULL;

	if (!checkpoint)
		return false;
	check_sane(checkpoint);
	again = checkpoint_to_name(checkpoint);
	g_assert_cmpstr(again, ==, name);
	return true;
}

static void test_fuzz(void)
{
	unsigned accepted = 0;

	for (int i = 0; i < 50000; i++) {
		g_autoptr(Checkpoint) checkpoint = random_checkpoint();
		g_autofree char *valid = checkpoint_to_name(checkpoint);
		GString *name = g_string_new(valid);

		for (int n = g_test_rand_int_range(1, 4);
			n > 0 && name->len > 1; n--)
			mutate(name);
		accepted += check_mutated(name->str);
		g_string_free(name, TRUE);
	}
	/* or it would not look at what is nearly right */
	g_assert_cmpuint(accepted, >, 1000);
	g_assert_cmpuint(accepted, <, 49000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/checkpoint/examples", test_examples);
	g_test_add_func("/checkpoint/to-name", test_to_name);
	g_test_add_func("/checkpoint/random", test_random);
	g_test_add_func("/checkpoint/sizes", test_sizes);
	g_test_add_func("/checkpoint/years", test_years);
	g_test_add_func("/checkpoint/refused", test_refused);
	g_test_add_func("/checkpoint/chain/longest", test_longest_chain);
	g_test_add_func("/checkpoint/chain/names", test_chain_names);
	g_test_add_func("/checkpoint/identity/stable",
		test_identity_is_stable);
	g_test_add_func("/checkpoint/identity/differs",
		test_identities_differ);
	g_test_add_func("/checkpoint/identity/in-name",
		test_identity_in_name);
	g_test_add_func("/checkpoint/fuzz", test_fuzz);
	return g_test_run();
}
