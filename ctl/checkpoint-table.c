/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checkpoint-table.h"

#include <string.h>

#include "chain-plan.h"
#include "instant.h"
#include "status-json.h"
#include "table.h"

/* One checkpoint, as texts. */
enum column { VM, DISK, CHAIN, INSTANT, CONTENT, STATE, NODE, BITMAP, COLUMNS };

static const char *const keys[COLUMNS] = { "vm", "disk", "chain", "instant",
	"content", "state", "node", "bitmap" };
static const char *const titles[COLUMNS] = { "VM", "DISK", "CHAIN", "INSTANT",
	"CONTENT", "STATE", "NODE", "BITMAP" };

/* The name of the bitmap says nothing that the others do not. */
#define SHOWN "lllllll"

G_STATIC_ASSERT(sizeof SHOWN - 1 == BITMAP);

struct CheckpointTable {
	GPtrArray *rows; /* of COLUMNS texts and a NULL each */
};

CheckpointTable *checkpoint_table_new(void)
{
	CheckpointTable *table = g_new0(CheckpointTable, 1);

	table->rows = g_ptr_array_new_with_free_func(
		(GDestroyNotify)g_strfreev);
	return table;
}

void checkpoint_table_free(CheckpointTable *table)
{
	if (!table)
		return;
	g_ptr_array_unref(table->rows);
	g_free(table);
}

static const char *state_of(const ChainDisk *disk, const ChainBitmap *bitmap)
{
	const char *reason = chain_plan_distrust(disk, bitmap);

	if (reason)
		return reason;
	return bitmap->checkpoint->pending ? "pending" : "committed";
}

static void add_row(CheckpointTable *table, const char *vm,
	const ChainDisk *disk, const ChainBitmap *bitmap)
{
	const Checkpoint *checkpoint = bitmap->checkpoint;
	char **row = g_new0(char *, COLUMNS + 1);

	row[VM] = g_strdup(vm);
	row[DISK] = g_strdup(disk->id);
	row[CHAIN] = g_strdup(checkpoint->chain);
	row[INSTANT] = instant_to_text(checkpoint->instant_ms);
	row[CONTENT] = instant_to_text(checkpoint->content_ms);
	row[STATE] = g_strdup(state_of(disk, bitmap));
	row[NODE] = g_strdup(bitmap->node);
	row[BITMAP] = g_strdup(bitmap->name);
	g_ptr_array_add(table->rows, row);
}

/* By chain and instant, which is how the names sort. */
static int by_name(gconstpointer a, gconstpointer b)
{
	return strcmp((*(ChainBitmap *const *)a)->name,
		(*(ChainBitmap *const *)b)->name);
}

void checkpoint_table_add(CheckpointTable *table, const char *vm,
	GPtrArray *disks)
{
	for (guint i = 0; i < disks->len; i++) {
		const ChainDisk *disk = disks->pdata[i];

		g_ptr_array_sort(disk->bitmaps, by_name);
		for (guint b = 0; b < disk->bitmaps->len; b++)
			add_row(table, vm, disk, disk->bitmaps->pdata[b]);
	}
}

static void print_table(const CheckpointTable *table, FILE *file)
{
	g_autoptr(Table) shown = table_new();
	TableShape shape = { .align = SHOWN };

	table_add(shown, &shape, titles);
	for (guint i = 0; i < table->rows->len; i++)
		table_add(shown, &shape, table->rows->pdata[i]);
	table_print(shown, file);
}

static json_object *row_json(char **row)
{
	json_object *object = json_object_new_object();

	for (unsigned i = 0; i < COLUMNS; i++)
		json_object_object_add(object, keys[i],
			json_object_new_string(row[i]));
	return object;
}

void checkpoint_table_print(const CheckpointTable *table, bool as_json,
	FILE *file)
{
	g_autoptr(json_object) array = NULL;

	if (!as_json) {
		print_table(table, file);
		return;
	}
	array = json_object_new_array();
	for (guint i = 0; i < table->rows->len; i++)
		json_object_array_add(array, row_json(table->rows->pdata[i]));
	fprintf(file, "%s\n", json_object_to_json_string_ext(array,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}
