/* SPDX-License-Identifier: GPL-2.0-or-later */
/* checkpoint-table.h - the checkpoints of VMs, as a table or as JSON */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <glib.h>

typedef struct CheckpointTable CheckpointTable;

CheckpointTable *checkpoint_table_new(void);
void checkpoint_table_free(CheckpointTable *table);

/* Adds all of the VM; disks are ChainDisks, whose bitmaps it sorts. */
void checkpoint_table_add(CheckpointTable *table, const char *vm,
	GPtrArray *disks);

/* A line each and a title, or an array of objects. */
void checkpoint_table_print(const CheckpointTable *table, bool as_json,
	FILE *file);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointTable, checkpoint_table_free)
