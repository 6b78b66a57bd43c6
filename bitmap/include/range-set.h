/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * range-set.h - a growing set of byte ranges
 *
 * Used for what a reader has freed by punching: ranges come in any order and
 * size, and ranges that touch become one.  Not thread-safe: the owner's lock
 * guards it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

typedef struct RangeSet RangeSet;

typedef struct {
	uint64_t start; /* first byte */
	uint64_t end;   /* first byte behind the range */
} Range;

RangeSet *range_set_new(void);
void range_set_free(RangeSet *set);

/*
 * Adds [start, end).  Returns the range of the set that holds it now, with
 * whatever it touched merged in.  Where start >= end it does nothing and
 * returns an empty range.
 */
Range range_set_add(RangeSet *set, uint64_t start, uint64_t end);

/* Whether any byte of [start, end) is in the set. O(log n). */
bool range_set_overlaps(const RangeSet *set, uint64_t start, uint64_t end);

/* Whether every byte of [start, end) is in the set; true where start >= end.
 * O(log n). */
bool range_set_contains(const RangeSet *set, uint64_t start, uint64_t end);

/* The first byte at or behind from that is not in the set. O(log n). */
uint64_t range_set_next_gap(const RangeSet *set, uint64_t from);

/* The sum of all ranges, in bytes. O(1). */
uint64_t range_set_total(const RangeSet *set);

/* How many separate ranges there are. */
size_t range_set_count(const RangeSet *set);

/*
 * The whole clusters that became covered when [start, end) joined grown (the
 * result of range_set_add() for it): each cluster that lies in grown and
 * touches [start, end).  The last cluster of a disk ends at size.  Returns
 * false where there is none.  cluster is a power of two.
 *
 * The result begins at a multiple of cluster and ends at one or at size: the
 * only form of trim that no QEMU aborts on.
 */
bool range_whole_clusters(Range grown, uint64_t start, uint64_t end,
	uint64_t cluster, uint64_t size, Range *clusters);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(RangeSet, range_set_free)
