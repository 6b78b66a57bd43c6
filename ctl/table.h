/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.h - text in columns that are as wide as their widest cell
 *
 * A table has rows of several shapes, such as VMs and their disks; the
 * columns of each shape are aligned for themselves.
 */
#pragma once

#include <stdio.h>

#include <glib.h>

#define TABLE_COLUMNS 8

/* All zero but for indent and align before it is used. */
typedef struct {
	unsigned indent;   /* in columns of the terminal */
	const char *align; /* 'l' or 'r' for each column; at most 8 */
	glong width[TABLE_COLUMNS];
} TableShape;

typedef struct Table Table;

Table *table_new(void);
void table_free(Table *table);

/*
 * Adds a row of as many cells as the shape aligns; a NULL among them becomes
 * "-".  The shape outlives the table.  Cells are copied, and made harmless
 * for a terminal.
 */
void table_add(Table *table, TableShape *shape, const char *const *cells);

/* The table so far, one line a row, without spaces at their ends. */
void table_print(const Table *table, FILE *file);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)
