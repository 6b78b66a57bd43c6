/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two lists of one size, against arrays with a byte for each unit; units are
 * large for some inputs, so that numbers come near to the largest disk. */
#include "extent-list.h"

#include "fuzz.h"

#define UNITS_MAX 128

typedef struct {
	ExtentList *list;
	unsigned char flags[UNITS_MAX];
} Both;

static unsigned units;
static uint64_t unit; /* bytes */

/* Two bytes an extent; what is missing at the end is one extent. */
static void fill(Both *both, FuzzInput *in)
{
	unsigned filled = 0;

	both->list = extent_list_new(units * unit);
	while (filled < units) {
		unsigned flags = fuzz_byte(in) & EXTENT_FLAGS;
		unsigned length = in->size ? fuzz_byte(in) : UNITS_MAX;
		bool added = extent_list_append(both->list, length * unit,
			flags);

		g_assert_true(added == (length > 0));
		length = MIN(length, units - filled);
		memset(both->flags + filled, flags, length);
		filled += length;
		g_assert_cmpuint(extent_list_filled(both->list), ==,
			filled * unit);
		g_assert_true(extent_list_is_complete(both->list) ==
			(filled == units));
	}
	g_assert_false(extent_list_append(both->list, unit, 0));
}

static unsigned count_extents(const unsigned char *flags)
{
	unsigned count = units > 0;

	for (unsigned i = 1; i < units; i++)
		count += flags[i] != flags[i - 1];
	return count;
}

static void compare_extents(const ExtentList *list, const unsigned char *flags)
{
	uint64_t end = 0;

	g_assert_cmpuint(extent_list_count(list), ==, count_extents(flags));
	for (size_t i = 0; i < extent_list_count(list); i++) {
		Extent extent = extent_list_get(list, i);

		g_assert_cmpuint(extent.offset, ==, end);
		g_assert_cmpuint(extent.length, >, 0);
		g_assert_cmpuint(extent.length % unit, ==, 0);
		end += extent.length;
		for (uint64_t at = extent.offset; at < end; at += unit)
			g_assert_cmpuint(flags[at / unit], ==, extent.flags);
	}
	g_assert_cmpuint(end, ==, units * unit);
}

static void compare_finds(const ExtentList *list)
{
	for (unsigned i = 0; i < units; i++) {
		uint64_t at = i * unit + i % unit;
		Extent extent = extent_list_get(list,
			extent_list_find(list, at));

		g_assert_true(extent.offset <= at &&
			at - extent.offset < extent.length);
	}
}

static uint64_t model_next(const unsigned char *flags, uint64_t from,
	unsigned mask, unsigned want)
{
	for (unsigned i = from / unit; i < units; i++) {
		if ((flags[i] & mask) == want)
			return MAX(from, i * unit);
	}
	return units * unit;
}

static void compare_wish(const ExtentList *list, const unsigned char *flags,
	unsigned mask, unsigned want)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < units; i++) {
		uint64_t from = i * unit + (i & 1 ? unit - 1 : 0);

		total += (flags[i] & mask) == want ? unit : 0;
		g_assert_cmpuint(extent_list_next(list, from, mask, want), ==,
			model_next(flags, from, mask, want));
	}
	g_assert_cmpuint(extent_list_total(list, mask, want), ==, total);
	g_assert_cmpuint(extent_list_next(list, units * unit + 1, mask, want),
		==, units * unit);
}

static void compare(const ExtentList *list, const unsigned char *flags)
{
	g_assert_nonnull(list);
	g_assert_cmpuint(extent_list_size(list), ==, units * unit);
	compare_extents(list, flags);
	compare_finds(list);
	for (unsigned mask = 1; mask <= EXTENT_FLAGS; mask++) {
		compare_wish(list, flags, mask, 0);
		compare_wish(list, flags, mask, mask);
	}
}

static void compare_two(const Both *a, const Both *b, unsigned drop)
{
	g_autoptr(ExtentList) both = extent_list_union(a->list, b->list);
	g_autoptr(ExtentList) less = extent_list_without(a->list, drop,
		b->list);
	unsigned char flags[UNITS_MAX];

	for (unsigned i = 0; i < units; i++)
		flags[i] = a->flags[i] | b->flags[i];
	compare(both, flags);
	for (unsigned i = 0; i < units; i++)
		flags[i] = a->flags[i] & ~(b->flags[i] ? drop : 0);
	compare(less, flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t sizes[] = { 1, 512, 65536, UINT64_C(1) << 52 };
	FuzzInput in = { data, size };
	Both a, b;
	unsigned drop;

	unit = sizes[fuzz_byte(&in) % G_N_ELEMENTS(sizes)];
	units = fuzz_byte(&in) % UNITS_MAX;
	drop = fuzz_byte(&in) & EXTENT_FLAGS;
	fill(&a, &in);
	fill(&b, &in);
	compare(a.list, a.flags);
	compare(b.list, b.flags);
	compare_two(&a, &b, drop);
	extent_list_free(a.list);
	extent_list_free(b.list);
	return 0;
}
