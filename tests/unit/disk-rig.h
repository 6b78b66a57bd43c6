/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk-rig.h - a DiskView over an NBD server that writes down what it does
 *
 * The server is nbdkit with a script; it serves the file "disk" of its
 * folder.  A read waits as long as there is a file "hold-OFFSET" beside it,
 * and fails with what stands in the file "error" or "error-OFFSET"; a trim
 * leaves zeros.
 */
#pragma once

#include "disk-view.h"
#include "nbd-fixture.h"

#define KIB 1024
#define DISK_SIZE MIB
#define CLUSTER FLEECE_CLUSTER
/* The one hole of the disk, as the map says: the server has no zeros there. */
#define HOLE_START (512 * KIB)
#define HOLE_END (640 * KIB)
/* Of the scratch, from the start. */
#define SCRATCH_USED (128 * KIB)

typedef struct {
	NbdFixture nbd;
	DiskView *view;
	NbdBatch batch;
	gint failed;        /* atomic: calls of rig_failed() */
	gint failed_errnum; /* atomic */
} DiskRig;

/* For g_test_add(): with a view, with one that has no scratch. */
void rig_set_up(DiskRig *rig, gconstpointer data);
void rig_set_up_read_only(DiskRig *rig, gconstpointer data);
void rig_tear_down(DiskRig *rig, gconstpointer data);

/* The view's failed callback; opaque is the rig. */
void rig_failed(void *opaque, int errnum, const char *why);

/* That it was called once, with errnum; never where that is 0. */
void rig_assert_failed(DiskRig *rig, int errnum);

/* What the disk has at offset, the hole left out: never 0. */
unsigned char rig_byte(uint64_t offset);

/* Files in the server's folder. */
void rig_put(const DiskRig *rig, const char *name, const char *text);
void rig_remove(const DiskRig *rig, const char *name);
void rig_hold(const DiskRig *rig, uint64_t offset);
void rig_let_go(const DiskRig *rig, uint64_t offset);

/* What the server has done so far: "read OFFSET LENGTH; " as it is asked,
 * "sent OFFSET LENGTH; " as it answers, "trim OFFSET LENGTH; ". */
char *rig_log(const DiskRig *rig);
void rig_assert_log(const DiskRig *rig, const char *expected);
void rig_wait_for_log(const DiskRig *rig, const char *words);

/* Counts a request that is about to be made. */
void rig_begin(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	size_t length);

/* Make one; a read gets a buffer of its own. */
void rig_start_read(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	size_t length);
void rig_start_punch(DiskRig *rig, NbdBatchRequest *request, uint64_t offset,
	uint64_t length);

/* How often its completion was called so far. */
unsigned rig_calls(DiskRig *rig, const NbdBatchRequest *request);

/* Waits for all; this read must have ended once, with error or else with the
 * bytes of the instant. */
void rig_finish_read(DiskRig *rig, NbdBatchRequest *request, int error);

/* Both, from begin to end. */
void rig_read(DiskRig *rig, uint64_t offset, size_t length, int error);
void rig_punch(DiskRig *rig, uint64_t offset, uint64_t length, int error);

/* A read that must end at once, with zeros. */
void rig_read_zeros(DiskRig *rig, uint64_t offset, size_t length);

DiskStats rig_stats(const DiskRig *rig);
