/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-view.h - one disk as it was at the instant: read it, free it
 *
 * The data path of a snapshot.  Nothing here blocks: results come to a
 * completion, from the NBD loop's thread or, where no network is needed, from
 * the caller's.  Any thread may call; completions must not block.
 *
 * The order that keeps bytes right: a punched range is refused to new reads
 * first, then reads already under way in it are waited for, and only then is
 * it trimmed.  A read that raced a trim could see the scratch's zeros.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "extent-list.h"
#include "map-text.h"
#include "nbd-export.h"

typedef struct DiskView DiskView;

/* QEMU's copy-before-write copies, and a trim frees, whole clusters: 64 KiB
 * is the smallest and the one that a raw scratch gets. */
#define FLEECE_CLUSTER 65536

/* Called once a request has ended: 0 or a positive errno. */
typedef void DiskDone(void *opaque, int error);

/*
 * A view without data yet.  scratch_fd, which it takes, or -1 for a disk that
 * is served as it is.  name is the file's name, id QEMU's.
 */
DiskView *disk_view_new_take(const char *name, const char *id, uint64_t size,
	int scratch_fd);

/*
 * For a view whose server others run.  What its errors mean is not known
 * then, so a read that is refused fails with EIO, and the view stands.
 * Trims are sent by whole multiples of cluster; 0: none are.
 */
void disk_view_set_foreign(DiskView *view, unsigned cluster);

/* Frees it; disk_view_close() must have been called where it was attached. */
void disk_view_free(DiskView *view);

/*
 * Gives it its data, before any other thread sees it.  The export is taken.
 * allocation has EXTENT_ZERO where there is a hole, dirty has EXTENT_DIRTY
 * where the disk has changed; NULL says that it has everywhere.
 */
bool disk_view_attach_take(DiskView *view, NbdExport *export,
	const ExtentList *allocation, const ExtentList *dirty,
	GError **error);

/* The lost callback for this view's NbdExport; opaque is the view. */
void disk_view_lost(void *view, const char *why);

/*
 * Who is told, once, when the view fails by itself: errnum is ESTALE (the
 * snapshot broke in QEMU) or EIO (the connection is lost).  If that happened
 * before this call, it is told at once.
 */
void disk_view_set_failed(DiskView *view,
	void (*failed)(void *opaque, int errnum, const char *why),
	void *opaque);

/* Makes every later read end with errnum; the first call counts. */
void disk_view_fail(DiskView *view, int errnum);

/* Ends requests under way, closes the connections, and empties and closes the
 * scratch.  Later reads end with ESTALE.  Blocks; not from a completion. */
void disk_view_close(DiskView *view);

/* Closes the scratch as it is, since QEMU still has it: whoever would empty
 * one that does not answer hangs. */
void disk_view_leave_scratch(DiskView *view);

/*
 * ESTALE where the kernel could not store what QEMU had written to scratch,
 * which QEMU is not told: what is read from there may be wrong, so this is
 * also asked after each read.  It is told as QEMU's own break is.
 */
int disk_view_check_scratch(DiskView *view);

/*
 * For this and the next one: the caller keeps the view until the function has
 * returned, even where done was called before.
 *
 * Reads length bytes at offset, all below the size, into buffer, which must
 * stay until done is called.  ENODATA where a byte of it was freed, ESTALE
 * where the snapshot broke or was released, EIO where QEMU is lost.
 */
void disk_view_read(DiskView *view, void *buffer, size_t length,
	uint64_t offset, DiskDone *done, void *opaque);

/* The same of a file that has zeros where nothing is dirty: those bytes are
 * not asked for. */
void disk_view_read_delta(DiskView *view, void *buffer, size_t length,
	uint64_t offset, DiskDone *done, void *opaque);

/*
 * Reads a few bytes that must be readable, if there are any still, those that
 * are dirty first: 0 where that went well or nothing is left.  QEMU does not
 * say when it gives up a snapshot.  Blocks; not from a completion.
 */
int disk_view_probe(DiskView *view);

/*
 * Frees [offset, offset + length), cut to the disk: reading it is ENODATA
 * from now on, and the scratch of every cluster that is covered by now is
 * given back when done is called.  Where that fails, done gets the error, the
 * range is freed for readers all the same, and the next punch of the disk,
 * whatever it frees, gives the scratch back too, or fails too.
 */
void disk_view_punch(DiskView *view, uint64_t offset, uint64_t length,
	DiskDone *done, void *opaque);

const char *disk_view_name(const DiskView *view);
const char *disk_view_id(const DiskView *view);
uint64_t disk_view_size(const DiskView *view);

/* Whether old blocks of it are copied aside. */
bool disk_view_has_scratch(DiskView *view);

/* Zero and dirty flags of every byte at the instant; never changes. */
const ExtentList *disk_view_extents(const DiskView *view);

/* The bytes that are no holes, and those that are dirty. */
uint64_t disk_view_allocated(const DiskView *view);
uint64_t disk_view_dirty(const DiskView *view);

/* The texts of .dirty and .dirty.json. */
const MapText *disk_view_map_text(const DiskView *view,
	enum map_format format);

typedef struct {
	uint64_t read;    /* bytes given to readers */
	uint64_t freed;   /* bytes punched */
	uint64_t scratch; /* bytes of scratch in use now */
	unsigned failed_reads; /* reads that ended in another error than
				* ENODATA */
} DiskStats;

void disk_view_stats(DiskView *view, DiskStats *stats);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskView, disk_view_free)
