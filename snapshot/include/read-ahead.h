/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read-ahead.h - what the next reads of an open file will want
 *
 * A ReadAhead belongs to one open file.  It sees each read of it, notices
 * when they follow each other, and has what comes next read into buffers of
 * the disk (READ_AHEAD_BUFFER bytes each, whole clusters, holes left out)
 * while the reader is at work.  How far ahead: as far as a read of that size
 * makes worth while, and further, up to half of the disk's buffers, as long
 * as requests come back without having queued: then it is distance that costs
 * the time, not the server.
 *
 * What a reader gets is the same as without:
 *
 * - Bytes are given out only if the disk lets this reader have them in that
 *   moment (disk_view_may_read()): after a punch, a break or a loss it gets
 *   the errno, whatever lies in a buffer.
 * - A buffer whose read failed is nothing.  Whoever wants bytes of it has
 *   just these read, and gets the answer to that; a failure that nobody
 *   asked for is no failed read.
 * - Reads that follow nothing are handed on as they are.
 *
 * Any thread may call; nothing blocks.
 */
#pragma once

#include <sys/uio.h>

#include "disk-view.h"

typedef struct ReadAhead ReadAhead;

/*
 * Called once a read has ended.  error is 0 or a positive errno; with 0 the
 * count parts are the bytes asked for, valid until this returns.  From the
 * NBD loop's thread or the reader's: it must not block.
 */
typedef void ReadAheadDone(void *opaque, int error, const struct iovec *parts,
	unsigned count);

/* For a file of the disk as it was, or with delta of what is dirty in it.
 * The view outlives whatever is under way in it. */
ReadAhead *read_ahead_new(DiskView *view, bool delta);

/*
 * The file is closed.  What is being read ahead comes to its end without the
 * reader; the memory goes with it.
 */
void read_ahead_close(ReadAhead *ahead);

/*
 * Reads length bytes at offset, all below the disk's size, length not 0.  The
 * caller keeps the view until this has returned, even where done was called,
 * and the file was closed, before.
 */
void read_ahead_read(ReadAhead *ahead, size_t length, uint64_t offset,
	ReadAheadDone *done, void *opaque);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReadAhead, read_ahead_close)
