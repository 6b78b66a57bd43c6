/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent-list.h - what is known of every byte of a disk, as extents
 *
 * An ExtentList covers [0, size) of one disk without gap or overlap; each
 * extent carries a set of flags, and neighbours differ in theirs.  It is
 * built once, front to back, and never changes afterwards, so that any
 * number of threads may read it without a lock.
 *
 * An extent costs eight bytes: four million of them fit in 32 MiB.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/* Reads as zeros, and nothing is stored for it: a hole. Only the ZERO bit of
 * NBD's base:allocation earns it; HOLE alone is data in a backing file. */
#define EXTENT_ZERO (1u << 0)
/* Changed since the base checkpoint, or there is no base. */
#define EXTENT_DIRTY (1u << 1)
/* Flags are any set of these. */
#define EXTENT_FLAGS (EXTENT_ZERO | EXTENT_DIRTY)

typedef struct ExtentList ExtentList;

typedef struct {
	uint64_t offset; /* bytes from the start of the disk */
	uint64_t length; /* bytes, never 0 */
	unsigned flags;
} Extent;

/*
 * A list of a disk of size bytes (at most 2^61), still empty.  It must be
 * filled with extent_list_append() until extent_list_is_complete() before
 * any of the reading functions is called.
 */
ExtentList *extent_list_new(uint64_t size);

/* A complete list of one extent; of none where size is 0. */
ExtentList *extent_list_new_uniform(uint64_t size, unsigned flags);

/*
 * A complete list of the same size as a and b (which must be equal), where
 * each byte has the flags of both.  Returns NULL when memory is short.
 */
ExtentList *extent_list_union(const ExtentList *a, const ExtentList *b);

/* The same of list, less these flags where where has any flag. */
ExtentList *extent_list_without(const ExtentList *list, unsigned flags,
	const ExtentList *where);

void extent_list_free(ExtentList *list);

/*
 * Adds length bytes with flags behind what is there.  What reaches beyond
 * the size is cut off (NBD allows a server to describe more than was asked).
 * Returns false, and adds nothing, when there is nothing left to describe,
 * when length is 0, or when memory is short.
 */
bool extent_list_append(ExtentList *list, uint64_t length, unsigned flags);

/* How many bytes are described so far: where the next append begins. */
uint64_t extent_list_filled(const ExtentList *list);

/* Whether all of [0, size) is described. */
bool extent_list_is_complete(const ExtentList *list);

uint64_t extent_list_size(const ExtentList *list);
size_t extent_list_count(const ExtentList *list);

/* The extent at index, which must be less than extent_list_count(). */
Extent extent_list_get(const ExtentList *list, size_t index);

/* The index of the extent that holds offset, which must be below the size.
 * Takes O(log count). */
size_t extent_list_find(const ExtentList *list, uint64_t offset);

/*
 * The first offset at or behind from whose extent has (flags & mask) == want;
 * the size of the disk where there is none.
 */
uint64_t extent_list_next(const ExtentList *list, uint64_t from, unsigned mask,
	unsigned want);

/* The sum of the lengths of the extents with (flags & mask) == want. */
uint64_t extent_list_total(const ExtentList *list, unsigned mask,
	unsigned want);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExtentList, extent_list_free)
