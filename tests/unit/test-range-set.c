/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "range-set.h"

#include <string.h>

#define MODEL_SIZE 300

/* The naive set: whether each byte is in it. */
typedef struct {
	bool in[MODEL_SIZE + 1]; /* the last one stays false */
} Model;

static void model_add(Model *model, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at++)
		model->in[at] = true;
}

static uint64_t model_count(const Model *model, uint64_t start, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t at = start; at < end; at++)
		count += model->in[at];
	return count;
}

static size_t model_ranges(const Model *model)
{
	size_t count = 0;

	for (uint64_t at = 0; at < MODEL_SIZE; at++)
		count += model->in[at] && !model->in[at + 1];
	return count;
}

/* The run of bytes around [start, end), which must not be empty. */
static Range model_around(const Model *model, uint64_t start, uint64_t end)
{
	while (start > 0 && model->in[start - 1])
		start--;
	while (model->in[end])
		end++;
	return (Range){ .start = start, .end = end };
}

static void random_range(uint64_t *start, uint64_t *end)
{
	*start = g_test_rand_int_range(0, MODEL_SIZE);
	*end = *start + g_test_rand_int_range(0, 25);
	*end = MIN(*end, MODEL_SIZE);
}

static void check_queries(const RangeSet *set, const Model *model)
{
	g_assert_cmpuint(range_set_total(set), ==,
		model_count(model, 0, MODEL_SIZE));
	g_assert_cmpuint(range_set_count(set), ==, model_ranges(model));
	for (int i = 0; i < 50; i++) {
		uint64_t start;
		uint64_t end;
		uint64_t count;

		random_range(&start, &end);
		count = model_count(model, start, end);
		g_assert_true(range_set_overlaps(set, start, end) ==
			(count > 0));
		g_assert_true(range_set_contains(set, start, end) ==
			(count == end - start));
	}
}

static void check_add(RangeSet *set, Model *model)
{
	uint64_t start;
	uint64_t end;
	Range got;
	Range expected;

	random_range(&start, &end);
	model_add(model, start, end);
	got = range_set_add(set, start, end);
	if (start == end) {
		g_assert_cmpuint(got.start, ==, got.end);
		return;
	}
	expected = model_around(model, start, end);
	g_assert_cmpuint(got.start, ==, expected.start);
	g_assert_cmpuint(got.end, ==, expected.end);
}

static void test_random(void)
{
	for (int round = 0; round < 200; round++) {
		g_autoptr(RangeSet) set = range_set_new();
		Model model = { 0 };

		check_queries(set, &model);
		for (int i = 0; i < 60; i++) {
			check_add(set, &model);
			check_queries(set, &model);
		}
	}
}

static void test_touching(void)
{
	g_autoptr(RangeSet) set = range_set_new();
	Range grown;

	range_set_add(set, 10, 20);
	range_set_add(set, 30, 40);
	g_assert_cmpuint(range_set_count(set), ==, 2);
	grown = range_set_add(set, 20, 30);
	g_assert_cmpuint(grown.start, ==, 10);
	g_assert_cmpuint(grown.end, ==, 40);
	g_assert_cmpuint(range_set_count(set), ==, 1);
	g_assert_cmpuint(range_set_total(set), ==, 30);
}

static void test_nothing(void)
{
	g_autoptr(RangeSet) set = range_set_new();

	range_set_add(set, 5, 5);
	range_set_add(set, 7, 3);
	g_assert_cmpuint(range_set_count(set), ==, 0);
	g_assert_cmpuint(range_set_total(set), ==, 0);
	g_assert_false(range_set_overlaps(set, 0, UINT64_MAX));
	g_assert_false(range_set_contains(set, 0, 1));
	g_assert_true(range_set_contains(set, 7, 7));
	range_set_add(set, 0, 10);
	g_assert_false(range_set_overlaps(set, 5, 5));
}

static void test_extremes(void)
{
	g_autoptr(RangeSet) set = range_set_new();

	range_set_add(set, UINT64_MAX - 1, UINT64_MAX);
	range_set_add(set, 0, 1);
	g_assert_cmpuint(range_set_count(set), ==, 2);
	g_assert_true(range_set_overlaps(set, UINT64_MAX - 1, UINT64_MAX));
	g_assert_false(range_set_overlaps(set, 1, UINT64_MAX - 1));
	range_set_add(set, 0, UINT64_MAX);
	g_assert_cmpuint(range_set_count(set), ==, 1);
	g_assert_cmpuint(range_set_total(set), ==, UINT64_MAX);
}

/* Every whole cluster in the model that touches [start, end). */
static bool model_clusters(const Model *model, uint64_t start, uint64_t end,
	uint64_t cluster, uint64_t size, Range *clusters)
{
	bool found = false;

	for (uint64_t at = 0; at < size; at += cluster) {
		uint64_t behind = MIN(at + cluster, size);

		if (behind <= start || at >= end)
			continue;
		if (model_count(model, at, behind) < behind - at)
			continue;
		if (!found)
			clusters->start = at;
		clusters->end = behind;
		found = true;
	}
	return found;
}

static void check_clusters(RangeSet *set, Model *model, uint64_t cluster,
	uint64_t size)
{
	Range got = { 0 };
	Range expected = { 0 };
	uint64_t start;
	uint64_t end;
	Range grown;
	bool found;

	/* Beyond the size as well: a reader may punch there. */
	random_range(&start, &end);
	grown = range_set_add(set, start, end);
	model_add(model, start, end);
	found = start < end && model_clusters(model, start, end, cluster,
		size, &expected);
	g_assert_true(range_whole_clusters(grown, start, end, cluster, size,
		&got) == found);
	g_assert_cmpuint(got.start, ==, expected.start);
	g_assert_cmpuint(got.end, ==, expected.end);
}

static void test_clusters_random(void)
{
	for (int round = 0; round < 2000; round++) {
		g_autoptr(RangeSet) set = range_set_new();
		Model model = { 0 };
		uint64_t cluster = 1u << g_test_rand_int_range(0, 7);
		uint64_t size = g_test_rand_int_range(0, MODEL_SIZE + 1);

		for (int i = 0; i < 40; i++)
			check_clusters(set, &model, cluster, size);
	}
}

/* A disk of 2.5 clusters of 64 KiB: its last one ends at the size. */
static void test_tail_cluster(void)
{
	uint64_t size = 163840;
	Range all = { .start = 0, .end = size };
	Range tail = { .start = 131072, .end = size };
	Range short_tail = { .start = 131072, .end = size - 1 };
	Range clusters = { 0 };

	g_assert_true(range_whole_clusters(tail, 131072, size, 65536, size,
		&clusters));
	g_assert_cmpuint(clusters.start, ==, 131072);
	g_assert_cmpuint(clusters.end, ==, size);
	g_assert_false(range_whole_clusters(short_tail, 131072, size - 1,
		65536, size, &clusters));
	/* The last byte came last: only its own cluster is told again. */
	g_assert_true(range_whole_clusters(all, size - 1, size, 65536, size,
		&clusters));
	g_assert_cmpuint(clusters.start, ==, 131072);
	g_assert_cmpuint(clusters.end, ==, size);
	g_assert_false(range_whole_clusters(all, size, size + 1, 65536, size,
		&clusters));
}

static void test_cluster_larger_than_disk(void)
{
	Range all = { .start = 0, .end = UINT64_MAX };
	Range clusters = { 0 };

	g_assert_true(range_whole_clusters(all, 0, UINT64_MAX, 65536, 512,
		&clusters));
	g_assert_cmpuint(clusters.start, ==, 0);
	g_assert_cmpuint(clusters.end, ==, 512);
	g_assert_false(range_whole_clusters(all, 0, 1, 65536, 0, &clusters));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/range-set/random", test_random);
	g_test_add_func("/range-set/touching", test_touching);
	g_test_add_func("/range-set/nothing", test_nothing);
	g_test_add_func("/range-set/extremes", test_extremes);
	g_test_add_func("/range-set/clusters/random", test_clusters_random);
	g_test_add_func("/range-set/clusters/tail", test_tail_cluster);
	g_test_add_func("/range-set/clusters/large",
		test_cluster_larger_than_disk);
	return g_test_run();
}
