/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "extent-list.h"

#include <string.h>

#define MODEL_SIZE 600
#define MANY 4000000

/* The naive list: the flags of every byte. */
typedef struct {
	uint8_t flags[MODEL_SIZE];
	size_t size;
} Model;

/* Fills both with the same random runs; the last one often reaches beyond
 * the size. */
static ExtentList *random_list(Model *model, size_t size)
{
	ExtentList *list = extent_list_new(size);
	size_t at = 0;

	model->size = size;
	while (!extent_list_is_complete(list)) {
		size_t length = g_test_rand_int_range(1, 40);
		unsigned flags = g_test_rand_int_range(0, EXTENT_FLAGS + 1);

		g_assert_cmpuint(extent_list_filled(list), ==, at);
		g_assert_true(extent_list_append(list, length, flags));
		for (size_t i = 0; i < length && at < size; i++)
			model->flags[at++] = flags;
	}
	g_assert_cmpuint(at, ==, size);
	return list;
}

static void check_extents(const ExtentList *list, const Model *model)
{
	uint64_t at = 0;

	g_assert_cmpuint(extent_list_size(list), ==, model->size);
	g_assert_true(extent_list_is_complete(list));
	for (size_t i = 0; i < extent_list_count(list); i++) {
		Extent extent = extent_list_get(list, i);

		g_assert_cmpuint(extent.offset, ==, at);
		g_assert_cmpuint(extent.length, >, 0);
		if (at > 0)
			g_assert_cmpuint(extent.flags, !=,
				model->flags[at - 1]);
		for (uint64_t n = 0; n < extent.length; n++, at++) {
			g_assert_cmpuint(extent.flags, ==, model->flags[at]);
			g_assert_cmpuint(extent_list_find(list, at), ==, i);
		}
	}
	g_assert_cmpuint(at, ==, model->size);
}

static void check_search(const ExtentList *list, const Model *model,
	unsigned mask, unsigned want)
{
	uint64_t next = model->size;
	uint64_t total = 0;

	g_assert_cmpuint(extent_list_next(list, next, mask, want), ==, next);
	g_assert_cmpuint(extent_list_next(list, UINT64_MAX, mask, want), ==,
		next);
	for (uint64_t at = model->size; at-- > 0;) {
		if ((model->flags[at] & mask) == want) {
			next = at;
			total++;
		}
		g_assert_cmpuint(extent_list_next(list, at, mask, want), ==,
			next);
	}
	g_assert_cmpuint(extent_list_total(list, mask, want), ==, total);
}

static void check_list(const ExtentList *list, const Model *model)
{
	check_extents(list, model);
	for (unsigned mask = 0; mask <= EXTENT_FLAGS; mask++) {
		for (unsigned want = 0; want <= EXTENT_FLAGS; want++)
			check_search(list, model, mask, want);
	}
}

static void test_random(void)
{
	for (int round = 0; round < 200; round++) {
		Model model;
		size_t size = g_test_rand_int_range(0, MODEL_SIZE + 1);
		g_autoptr(ExtentList) list = random_list(&model, size);

		check_list(list, &model);
	}
}

static void test_union(void)
{
	for (int round = 0; round < 200; round++) {
		Model one;
		Model two;
		size_t size = g_test_rand_int_range(0, MODEL_SIZE + 1);
		g_autoptr(ExtentList) a = random_list(&one, size);
		g_autoptr(ExtentList) b = random_list(&two, size);
		g_autoptr(ExtentList) both = extent_list_union(a, b);

		for (size_t i = 0; i < size; i++)
			one.flags[i] |= two.flags[i];
		check_list(both, &one);
	}
}

static void test_without(void)
{
	for (int round = 0; round < 200; round++) {
		Model one;
		Model two;
		size_t size = g_test_rand_int_range(0, MODEL_SIZE + 1);
		g_autoptr(ExtentList) list = random_list(&one, size);
		g_autoptr(ExtentList) where = random_list(&two, size);
		g_autoptr(ExtentList) less = extent_list_without(list,
			EXTENT_ZERO, where);

		for (size_t i = 0; i < size; i++) {
			if (two.flags[i])
				one.flags[i] &= ~EXTENT_ZERO;
		}
		check_list(less, &one);
	}
}

static void test_uniform(void)
{
	for (unsigned flags = 0; flags <= EXTENT_FLAGS; flags++) {
		Model model = { .size = MODEL_SIZE };
		g_autoptr(ExtentList) list = extent_list_new_uniform(
			MODEL_SIZE, flags);

		memset(model.flags, flags, sizeof(model.flags));
		check_list(list, &model);
		g_assert_cmpuint(extent_list_count(list), ==, 1);
	}
}

static void test_empty_disk(void)
{
	g_autoptr(ExtentList) list = extent_list_new(0);
	g_autoptr(ExtentList) uniform = extent_list_new_uniform(0,
		EXTENT_DIRTY);
	g_autoptr(ExtentList) both = extent_list_union(list, uniform);
	Model model = { .size = 0 };

	g_assert_false(extent_list_append(list, 1, 0));
	check_list(list, &model);
	check_list(uniform, &model);
	check_list(both, &model);
}

static void test_append(void)
{
	g_autoptr(ExtentList) list = extent_list_new(100);

	g_assert_false(extent_list_append(list, 0, EXTENT_ZERO));
	g_assert_cmpuint(extent_list_count(list), ==, 0);
	g_assert_true(extent_list_append(list, 10, EXTENT_ZERO));
	g_assert_true(extent_list_append(list, 10, EXTENT_ZERO));
	g_assert_cmpuint(extent_list_count(list), ==, 1);
	g_assert_cmpuint(extent_list_filled(list), ==, 20);
	g_assert_false(extent_list_is_complete(list));

	/* A length that wraps when it is added to what is there. */
	g_assert_true(extent_list_append(list, UINT64_MAX, EXTENT_DIRTY));
	g_assert_true(extent_list_is_complete(list));
	g_assert_cmpuint(extent_list_get(list, 1).length, ==, 80);
	g_assert_false(extent_list_append(list, 1, EXTENT_DIRTY));
	g_assert_false(extent_list_append(list, 1, 0));
	g_assert_cmpuint(extent_list_count(list), ==, 2);
}

static void test_largest_disk(void)
{
	uint64_t size = UINT64_C(1) << 61;
	g_autoptr(ExtentList) list = extent_list_new(size);
	Extent last;

	g_assert_true(extent_list_append(list, size - 1, EXTENT_FLAGS));
	g_assert_true(extent_list_append(list, 7, EXTENT_ZERO));
	last = extent_list_get(list, 1);
	g_assert_cmpuint(last.offset, ==, size - 1);
	g_assert_cmpuint(last.length, ==, 1);
	g_assert_cmpuint(last.flags, ==, EXTENT_ZERO);
	g_assert_cmpuint(extent_list_find(list, size - 2), ==, 0);
	g_assert_cmpuint(extent_list_find(list, size - 1), ==, 1);
	g_assert_cmpuint(extent_list_total(list, EXTENT_DIRTY, EXTENT_DIRTY),
		==, size - 1);
}

/* A line of /proc/self/status, in KiB. */
static uint64_t memory(const char *key)
{
	g_autofree char *status = NULL;
	const char *line;

	g_assert_true(g_file_get_contents("/proc/self/status", &status, NULL,
		NULL));
	line = strstr(status, key);
	g_assert_nonnull(line);
	return g_ascii_strtoull(line + strlen(key), NULL, 10);
}

/* An address sanitizer keeps freed memory for a while. */
static bool memory_counts(void)
{
#ifdef __has_feature
	return !__has_feature(address_sanitizer);
#elif defined(__SANITIZE_ADDRESS__)
	return false;
#else
	return true;
#endif
}

static void test_memory(void)
{
	uint64_t before = memory("VmRSS:");
	g_autoptr(ExtentList) list = extent_list_new(MANY * UINT64_C(65536));
	uint64_t used;

	for (size_t i = 0; i < MANY; i++)
		g_assert_true(extent_list_append(list, 65536, i & 1));
	g_assert_true(extent_list_is_complete(list));
	g_assert_cmpuint(extent_list_count(list), ==, MANY);

	/* The most there ever was, so growing counts as well. */
	used = memory("VmHWM:") - before;
	g_test_message("%d extents: %" G_GUINT64_FORMAT " KiB", MANY, used);
	if (memory_counts())
		g_assert_cmpuint(used, <, 64 * 1024);
	for (size_t i = 0; i < MANY; i += 997)
		g_assert_cmpuint(extent_list_find(list,
			i * UINT64_C(65536) + 1), ==, i);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/extent-list/random", test_random);
	g_test_add_func("/extent-list/union", test_union);
	g_test_add_func("/extent-list/without", test_without);
	g_test_add_func("/extent-list/uniform", test_uniform);
	g_test_add_func("/extent-list/empty-disk", test_empty_disk);
	g_test_add_func("/extent-list/append", test_append);
	g_test_add_func("/extent-list/largest-disk", test_largest_disk);
	g_test_add_func("/extent-list/memory", test_memory);
	return g_test_run();
}
