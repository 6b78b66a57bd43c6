/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint of libvirt's, its name in the first line and its description
 * in the second: one of ours says the same when it is written again, and it
 * is a base only where it may be one.
 */
#include "domain-chain.h"

#include "fuzz.h"

#define UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define SIZE 8

static void assert_same(const DomainCheckpoint *a, const DomainCheckpoint *b)
{
	g_assert_cmpstr(a->chain, ==, b->chain);
	g_assert_cmpstr(a->identity, ==, b->identity);
	g_assert_cmpint(a->instant_ms, ==, b->instant_ms);
	g_assert_true(a->pending == b->pending);
	g_assert_cmpuint(a->disks->len, ==, b->disks->len);
	for (guint i = 0; i < a->disks->len; i++) {
		const DomainPart *part = a->disks->pdata[i];
		const DomainPart *other = b->disks->pdata[i];

		g_assert_cmpstr(part->target, ==, other->target);
		g_assert_cmpuint(part->size, ==, other->size);
		g_assert_true(a->pending ||
			part->content_ms == other->content_ms);
	}
}

/* What it says of its disks, one of which the domain still has. */
static void try_base(DomainCheckpoint *checkpoint, const DomainPart *part)
{
	gpointer list[] = { checkpoint };
	const GPtrArray checkpoints = { list, 1 };
	g_autoptr(ChainDisk) disk = domain_chain_disk(&checkpoints, UUID,
		part->target, SIZE);
	const ChainDisk *const disks[] = { disk };
	const ChainWish wish = { .chain = checkpoint->chain };
	ChainBase base;

	g_assert_cmpuint(disk->bitmaps->len, ==, 1);
	g_assert_true(chain_plan_bases(&wish, disks, 1, &base, NULL));
	g_assert_true(!base.base == !!base.reason);
	if (!base.base)
		return;
	g_assert_false(checkpoint->pending);
	g_assert_cmpuint(part->size, ==, SIZE);
	g_assert_cmpstr(base.base->name, ==, checkpoint->name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autofree char *name = fuzz_line(&in);
	g_autofree char *description = fuzz_text(&in);
	g_autoptr(DomainCheckpoint) checkpoint = name ?
		domain_checkpoint_parse(name, description) : NULL;
	g_autoptr(DomainCheckpoint) again = NULL;
	g_autofree char *text = NULL;

	if (!checkpoint)
		return 0;
	g_assert_cmpstr(checkpoint->name, ==, name);
	g_assert_true(g_str_has_prefix(description, "fleecefs "));
	text = domain_checkpoint_description(checkpoint);
	again = domain_checkpoint_parse(name, text);
	g_assert_nonnull(again);
	assert_same(checkpoint, again);
	/* of two parts of one target the first counts */
	if (checkpoint->disks->len)
		try_base(checkpoint, checkpoint->disks->pdata[0]);
	return 0;
}
