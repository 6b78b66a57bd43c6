/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk-view-read.h - what other ways of reading a disk are made of */
#pragma once

#include "buffer-pool.h"
#include "disk-view.h"

/* What is read ahead is kept in buffers of this size, of which a disk has so
 * many: 8 MiB.  A buffer is whole clusters. */
#define READ_AHEAD_BUFFER (4 * FLEECE_CLUSTER)
#define READ_AHEAD_BUFFERS 32

enum read_kind {
	READ_ASKED, /* for a reader: it counts in the statistics */
	READ_AHEAD, /* nobody has asked yet: it does not, good or bad */
};

/* As disk_view_read() and disk_view_read_delta(). */
void disk_view_read_as(DiskView *view, enum read_kind kind, void *buffer,
	size_t length, uint64_t offset, DiskDone *done, void *opaque);
void disk_view_read_delta_as(DiskView *view, enum read_kind kind, void *buffer,
	size_t length, uint64_t offset, DiskDone *done, void *opaque);

/*
 * Whether a reader may have these bytes, which have been read before or are
 * known to be zeros: 0 or an errno as disk_view_read() gives it.
 */
int disk_view_may_read(DiskView *view, enum read_kind kind, uint64_t length,
	uint64_t offset);

/* The first byte at or behind offset that was not freed. */
uint64_t disk_view_next_kept(DiskView *view, uint64_t offset);

/* Whether there is anything to be freed by a punch. */
bool disk_view_takes_trims(const DiskView *view);

/*
 * An open file of the disk that wants to know whether it is the only one: the
 * number is that of its opening.  Another that was closed may seem to be open
 * for a moment, since the kernel says so late.
 */
unsigned disk_view_opened(DiskView *view);
void disk_view_closed(DiskView *view);
bool disk_view_is_newest_opening(DiskView *view, unsigned number);
bool disk_view_is_open_twice(DiskView *view);

/* What all readers of the disk share: bounds what is read ahead. */
BufferPool *disk_view_buffers(DiskView *view);
