/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bitmap's name a line: what is taken for a checkpoint's is one that we
 * would have written, letter by letter. */
#include "checkpoint.h"

#include "fuzz.h"
#include "instant.h"

static void try_instant(const char *text)
{
	g_autofree char *again = NULL;
	gint64 ms;

	if (!instant_from_text(text, &ms))
		return;
	g_assert_cmpint(ms, >=, 0);
	g_assert_cmpint(ms, <=, INSTANT_MAX);
	again = instant_to_text(ms);
	g_assert_cmpstr(again, ==, text);
}

static void try_name(const char *name)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(name);
	g_autofree char *again = NULL;

	if (!checkpoint)
		return;
	again = checkpoint_to_name(checkpoint);
	g_assert_cmpstr(again, ==, name);
	g_assert_true(g_str_has_prefix(name, "fleecefs."));
	g_assert_true(checkpoint_is_chain_name(checkpoint->chain));
	g_assert_cmpuint(strlen(checkpoint->identity), ==,
		CHECKPOINT_IDENTITY_LENGTH);
	g_assert_cmpint(checkpoint->content_ms, <=, checkpoint->instant_ms);
	g_assert_true(checkpoint->pending ==
		g_str_has_suffix(name, ".pending"));
}

/* The other way round: whatever it says, its name says it again. */
static void try_checkpoint(FuzzInput *in)
{
	Checkpoint wanted = {
		.chain = (char *)"nightly-1_Z",
		.instant_ms = fuzz_number(in, 8) % (INSTANT_MAX + 1),
		.size = fuzz_number(in, 8),
		.pending = fuzz_byte(in) & 1,
	};
	gint64 older = fuzz_number(in, 8) % (wanted.instant_ms + 1);
	g_autoptr(Checkpoint) read = NULL;
	g_autofree char *name = NULL;

	wanted.content_ms = wanted.pending ? wanted.instant_ms : older;
	g_snprintf(wanted.identity, sizeof(wanted.identity),
		"%016" G_GINT64_MODIFIER "x", fuzz_number(in, 8));
	name = checkpoint_to_name(&wanted);
	read = checkpoint_from_name(name);
	g_assert_nonnull(read);
	g_assert_cmpstr(read->chain, ==, wanted.chain);
	g_assert_cmpint(read->instant_ms, ==, wanted.instant_ms);
	g_assert_cmpint(read->content_ms, ==, wanted.content_ms);
	g_assert_cmpuint(read->size, ==, wanted.size);
	g_assert_cmpstr(read->identity, ==, wanted.identity);
	g_assert_true(read->pending == wanted.pending);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput lines = { data, size };
	FuzzInput numbers = lines;
	char *name;

	try_checkpoint(&numbers);
	while ((name = fuzz_line(&lines))) {
		try_name(name);
		try_instant(name);
		g_free(name);
	}
	return 0;
}
