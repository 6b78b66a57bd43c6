/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "range-set.h"

struct RangeSet {
	/* Range by Range.start; no two overlap or touch */
	GTree *tree;
	uint64_t total;
};

static int compare_start(gconstpointer a, gconstpointer b, gpointer unused)
{
	const Range *x = a;
	const Range *y = b;

	(void)unused;
	return (x->start > y->start) - (x->start < y->start);
}

RangeSet *range_set_new(void)
{
	RangeSet *set = g_new0(RangeSet, 1);

	/* The value is its own key, so only one of them is freed. */
	set->tree = g_tree_new_full(compare_start, NULL, NULL, g_free);
	return set;
}

void range_set_free(RangeSet *set)
{
	if (!set)
		return;
	g_tree_unref(set->tree);
	g_free(set);
}

/* The last range that starts at or before offset, or NULL. */
static const Range *last_starting_by(const RangeSet *set, uint64_t offset)
{
	Range key = { .start = offset };
	GTreeNode *behind = g_tree_upper_bound(set->tree, &key);
	GTreeNode *node = behind ? g_tree_node_previous(behind) :
		g_tree_node_last(set->tree);

	return node ? g_tree_node_value(node) : NULL;
}

static void insert(RangeSet *set, Range range)
{
	Range *copy = g_memdup2(&range, sizeof(range));

	g_tree_insert(set->tree, copy, copy);
	set->total += range.end - range.start;
}

static void remove_range(RangeSet *set, Range range)
{
	g_tree_remove(set->tree, &range);
	set->total -= range.end - range.start;
}

Range range_set_add(RangeSet *set, uint64_t start, uint64_t end)
{
	Range grown = { .start = start, .end = end };
	const Range *near;

	if (start >= end)
		return (Range){ .start = start, .end = start };
	/* From the back, so that each step finds the next one to swallow. */
	near = last_starting_by(set, end);
	while (near && near->end >= grown.start) {
		grown.start = MIN(grown.start, near->start);
		grown.end = MAX(grown.end, near->end);
		remove_range(set, *near);
		near = last_starting_by(set, end);
	}
	insert(set, grown);
	return grown;
}

bool range_set_overlaps(const RangeSet *set, uint64_t start, uint64_t end)
{
	const Range *near;

	if (start >= end)
		return false;
	near = last_starting_by(set, end - 1);
	return near && near->end > start;
}

bool range_set_contains(const RangeSet *set, uint64_t start, uint64_t end)
{
	const Range *near;

	if (start >= end)
		return true;
	near = last_starting_by(set, start);
	return near && near->end >= end;
}

uint64_t range_set_next_gap(const RangeSet *set, uint64_t from)
{
	const Range *near = last_starting_by(set, from);

	return near ? MAX(near->end, from) : from;
}

uint64_t range_set_total(const RangeSet *set)
{
	return set->total;
}

size_t range_set_count(const RangeSet *set)
{
	return g_tree_nnodes(set->tree);
}

bool range_whole_clusters(Range grown, uint64_t start, uint64_t end,
	uint64_t cluster, uint64_t size, Range *clusters)
{
	uint64_t first = start & ~(cluster - 1);
	uint64_t last;

	g_assert(cluster > 0 && (cluster & (cluster - 1)) == 0);
	end = MIN(end, size);
	if (start >= end)
		return false;
	if (first < grown.start)
		first += cluster;
	last = end & ~(cluster - 1);
	if (last < end)
		last = size - last < cluster ? size : last + cluster;
	if (last > grown.end)
		last = end & ~(cluster - 1);
	if (first >= last)
		return false;
	*clusters = (Range){ .start = first, .end = last };
	return true;
}
