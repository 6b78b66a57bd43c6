/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "extent-list.h"

#define SIZE_MAX_BYTES (UINT64_C(1) << 61)
#define FIRST_CAPACITY 16

/* An extent is stored as its start with the flags in the top two bits; it
 * ends where the next one starts. */
#define FLAGS_SHIFT 62
#define START_MASK ((UINT64_C(1) << FLAGS_SHIFT) - 1)

G_STATIC_ASSERT(EXTENT_FLAGS <= UINT64_MAX >> FLAGS_SHIFT);
G_STATIC_ASSERT(SIZE_MAX_BYTES <= START_MASK);

struct ExtentList {
	uint64_t size;
	uint64_t filled;
	uint64_t *extents;
	size_t count;
	size_t capacity;
};

static uint64_t start_of(const ExtentList *list, size_t index)
{
	return list->extents[index] & START_MASK;
}

static uint64_t end_of(const ExtentList *list, size_t index)
{
	if (index + 1 < list->count)
		return start_of(list, index + 1);
	return list->filled;
}

static unsigned flags_of(const ExtentList *list, size_t index)
{
	return list->extents[index] >> FLAGS_SHIFT;
}

static bool set_capacity(ExtentList *list, size_t capacity)
{
	uint64_t *extents = g_try_realloc_n(list->extents, capacity,
		sizeof(*extents));

	if (!extents)
		return false;
	list->extents = extents;
	list->capacity = capacity;
	return true;
}

ExtentList *extent_list_new(uint64_t size)
{
	ExtentList *list = g_new0(ExtentList, 1);

	g_assert(size <= SIZE_MAX_BYTES);
	list->size = size;
	list->capacity = FIRST_CAPACITY;
	list->extents = g_new(uint64_t, list->capacity);
	return list;
}

ExtentList *extent_list_new_uniform(uint64_t size, unsigned flags)
{
	ExtentList *list = extent_list_new(size);

	if (size > 0)
		extent_list_append(list, size, flags);
	return list;
}

typedef unsigned Combine(unsigned a, unsigned b, unsigned mask);

static ExtentList *combine(const ExtentList *a, const ExtentList *b,
	Combine *flags, unsigned mask)
{
	g_autoptr(ExtentList) both = extent_list_new(a->size);
	size_t i = 0;
	size_t j = 0;

	g_assert(a->size == b->size);
	g_assert(extent_list_is_complete(a) && extent_list_is_complete(b));
	while (!extent_list_is_complete(both)) {
		uint64_t end_a = end_of(a, i);
		uint64_t end_b = end_of(b, j);
		uint64_t end = MIN(end_a, end_b);

		if (!extent_list_append(both, end - both->filled,
				flags(flags_of(a, i), flags_of(b, j), mask)))
			return NULL;
		if (end_a == end)
			i++;
		if (end_b == end)
			j++;
	}
	return g_steal_pointer(&both);
}

static unsigned either(unsigned a, unsigned b, unsigned mask G_GNUC_UNUSED)
{
	return a | b;
}

ExtentList *extent_list_union(const ExtentList *a, const ExtentList *b)
{
	return combine(a, b, either, 0);
}

static unsigned unless(unsigned a, unsigned b, unsigned mask)
{
	return b ? a & ~mask : a;
}

ExtentList *extent_list_without(const ExtentList *list, unsigned flags,
	const ExtentList *where)
{
	return combine(list, where, unless, flags);
}

void extent_list_free(ExtentList *list)
{
	if (!list)
		return;
	g_free(list->extents);
	g_free(list);
}

static bool push(ExtentList *list, unsigned flags)
{
	if (list->count == list->capacity &&
			!set_capacity(list, list->capacity * 2))
		return false;
	list->extents[list->count++] =
		list->filled | (uint64_t)flags << FLAGS_SHIFT;
	return true;
}

bool extent_list_append(ExtentList *list, uint64_t length, unsigned flags)
{
	bool same = list->count > 0 && flags_of(list, list->count - 1) == flags;

	g_assert((flags & ~EXTENT_FLAGS) == 0);
	length = MIN(length, list->size - list->filled);
	if (length == 0)
		return false;
	if (!same && !push(list, flags))
		return false;
	list->filled += length;
	/* The list lives as long as the mount: give back what doubling took
	 * too much.  Where that fails the list is as good as before. */
	if (extent_list_is_complete(list))
		set_capacity(list, list->count);
	return true;
}

uint64_t extent_list_filled(const ExtentList *list)
{
	return list->filled;
}

bool extent_list_is_complete(const ExtentList *list)
{
	return list->filled == list->size;
}

uint64_t extent_list_size(const ExtentList *list)
{
	return list->size;
}

size_t extent_list_count(const ExtentList *list)
{
	return list->count;
}

Extent extent_list_get(const ExtentList *list, size_t index)
{
	Extent extent;

	g_assert(index < list->count);
	extent.offset = start_of(list, index);
	extent.length = end_of(list, index) - extent.offset;
	extent.flags = flags_of(list, index);
	return extent;
}

size_t extent_list_find(const ExtentList *list, uint64_t offset)
{
	size_t low = 0;
	size_t high = list->count;

	g_assert(offset < list->filled);
	/* start_of(low) <= offset < start_of(high) */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (start_of(list, middle) <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

uint64_t extent_list_next(const ExtentList *list, uint64_t from, unsigned mask,
	unsigned want)
{
	if (from >= list->filled)
		return list->size;
	for (size_t i = extent_list_find(list, from); i < list->count; i++) {
		if ((flags_of(list, i) & mask) == want)
			return MAX(from, start_of(list, i));
	}
	return list->size;
}

uint64_t extent_list_total(const ExtentList *list, unsigned mask,
	unsigned want)
{
	uint64_t total = 0;

	for (size_t i = 0; i < list->count; i++) {
		if ((flags_of(list, i) & mask) == want)
			total += end_of(list, i) - start_of(list, i);
	}
	return total;
}
