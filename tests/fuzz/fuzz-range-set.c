/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Three bytes an act, with a byte for each place as the model. */
#include "range-set.h"

#include "fuzz.h"

#define PLACES 256
#define CLUSTER 16

static uint64_t model_count(const bool *model, uint64_t start, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t at = start; at < end; at++)
		count += model[at];
	return count;
}

static size_t model_ranges(const bool *model)
{
	size_t ranges = 0;

	for (unsigned at = 0; at < PLACES; at++)
		ranges += model[at] && (at == 0 || !model[at - 1]);
	return ranges;
}

static void compare(const RangeSet *set, const bool *model)
{
	uint64_t gap = PLACES;

	g_assert_cmpuint(range_set_total(set), ==,
		model_count(model, 0, PLACES));
	g_assert_cmpuint(range_set_count(set), ==, model_ranges(model));
	for (unsigned at = PLACES; at-- > 0;) {
		if (!model[at])
			gap = at;
		g_assert_cmpuint(range_set_next_gap(set, at), ==, gap);
	}
}

/* All clusters that became covered, and none that were not. */
static void check_clusters(Range grown, uint64_t start, uint64_t end,
	const bool *model, uint64_t size)
{
	Range found = { 0, 0 };
	bool any = range_whole_clusters(grown, start, end, CLUSTER, size,
		&found);

	for (uint64_t at = 0; at < size; at += CLUSTER) {
		uint64_t stop = MIN(at + CLUSTER, size);
		bool covered = model_count(model, at, stop) == stop - at &&
			at < end && start < stop;

		g_assert_true(covered ==
			(any && found.start <= at && stop <= found.end));
	}
}

static void add(RangeSet *set, bool *model, uint64_t start, uint64_t end,
	uint64_t size)
{
	Range grown = range_set_add(set, start, end);

	for (uint64_t at = start; at < end; at++)
		model[at] = true;
	if (start >= end) {
		g_assert_cmpuint(grown.start, >=, grown.end);
		return;
	}
	g_assert_true(grown.start <= start && end <= grown.end);
	g_assert_cmpuint(model_count(model, grown.start, grown.end), ==,
		grown.end - grown.start);
	g_assert_true(grown.start == 0 || !model[grown.start - 1]);
	g_assert_true(grown.end == PLACES || !model[grown.end]);
	if (end <= size)
		check_clusters(grown, start, end, model, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autoptr(RangeSet) set = range_set_new();
	bool model[PLACES + 1] = { false };
	unsigned disk = 1 + fuzz_byte(&in);

	while (in.size > 0) {
		bool ask = fuzz_byte(&in) & 1;
		unsigned start = fuzz_byte(&in), end = fuzz_byte(&in);
		uint64_t count = model_count(model, start, end);

		g_assert_true(range_set_overlaps(set, start, end) ==
			(count > 0));
		g_assert_true(range_set_contains(set, start, end) ==
			(start >= end || count == end - start));
		if (!ask)
			add(set, model, start, end, MIN(disk, PLACES));
	}
	compare(set, model);
	return 0;
}
