/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read-once.h - frees what a reader was given, for tools that cannot punch
 *
 * A ReadOnce belongs to one open file of a disk.  It is told of everything
 * that was returned, and frees the run that begins at byte 0, as
 * disk_view_punch() does.  Holes belong to the run where the reader has
 * skipped them and read on behind them.  The last cluster of the run is kept,
 * and everything until the run is longer than READ_ONCE_KEPT, so that whoever
 * only wants to know what the file is costs nothing.
 *
 * It stops for good, and says so once in the log, when something is read a
 * second time, or the disk is opened a second time meanwhile.  That second one
 * frees nothing either before it is alone.
 *
 * Any thread may call; nothing blocks.
 */
#pragma once

#include "disk-view.h"

/* A reader may look at so many bytes as often as it likes. */
#define READ_ONCE_KEPT (1 << 20)

typedef struct ReadOnce ReadOnce;

/* For a file of the disk as it was, or with delta of what is dirty in it; the
 * view outlives it. */
ReadOnce *read_once_open(DiskView *view, bool delta);

/* The file is closed.  The thread that has answered its last read may come to
 * read_once_returned() later. */
void read_once_close(ReadOnce *once);

/* For who needs it beyond the close. */
ReadOnce *read_once_ref(ReadOnce *once);
void read_once_unref(ReadOnce *once);

/* The reader has got these bytes.  Called from where the view is kept, as in a
 * completion of its reads. */
void read_once_returned(ReadOnce *once, size_t length, uint64_t offset);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReadOnce, read_once_unref)
