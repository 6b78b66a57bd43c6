/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-transaction.h - several changes of the block layer at once
 *
 * QEMU carries out the actions in their order, and all of them or none.
 * Nothing that the guest writes comes between the first backup of a
 * transaction and its end: the disks of all backups are drained meanwhile.
 * Actions on bitmaps take effect at once, one after the other, while the
 * guest writes.
 *
 * Never "grouped": a failing grouped transaction hangs QEMU 7.2.
 *
 * Conventions as in qmp-query.h.  A QmpTransaction belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "qmp-client.h"

typedef struct QmpTransaction QmpTransaction;

QmpTransaction *qmp_transaction_new(void);
void qmp_transaction_free(QmpTransaction *transaction);

typedef struct {
	const char *job;    /* job id: a letter, then [A-Za-z0-9-._] */
	const char *device; /* the disk's root node */
	const char *target; /* the scratch node */
	const char *filter; /* name for the filter node that the job inserts */
	bool break_snapshot; /* on-cbw-error=break-snapshot (QEMU 10.1) */
} QmpBackup;

/* blockdev-backup with sync=none: it only copies before write. */
void qmp_transaction_backup(QmpTransaction *transaction,
	const QmpBackup *backup);

enum qmp_bitmap_mode {
	QMP_BITMAP_RECORDING,  /* lost when QEMU ends */
	QMP_BITMAP_PERSISTENT, /* recording, and stored in the image */
	QMP_BITMAP_DISABLED,   /* records nothing */
};

/* A new bitmap; granularity is a power of two, in bytes. */
void qmp_transaction_bitmap_add(QmpTransaction *transaction, const char *node,
	const char *name, unsigned granularity, enum qmp_bitmap_mode mode);

/* Marks in the bitmap target of node what is marked in source, of
 * source_node. Both nodes have one size. */
void qmp_transaction_bitmap_merge(QmpTransaction *transaction,
	const char *node, const char *target, const char *source_node,
	const char *source);

void qmp_transaction_bitmap_remove(QmpTransaction *transaction,
	const char *node, const char *name);

/* Has QEMU carry it out; it may not be used again.  One without an action
 * succeeds without asking QEMU. */
bool qmp_transaction_run(QmpTransaction *transaction, QmpClient *client,
	GError **error);

/* block-dirty-bitmap-remove, a command of its own: what an inconsistent
 * bitmap needs. */
bool qmp_bitmap_remove(QmpClient *client, const char *node, const char *name,
	GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpTransaction, qmp_transaction_free)
