/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

#include <string.h>

#include "log.h"

#define GAP 2

typedef struct {
	const TableShape *shape;
	GPtrArray *cells;
} Row;

struct Table {
	GPtrArray *rows;
};

static void row_free(Row *row)
{
	g_ptr_array_unref(row->cells);
	g_free(row);
}

Table *table_new(void)
{
	Table *table = g_new0(Table, 1);

	table->rows = g_ptr_array_new_with_free_func((GDestroyNotify)row_free);
	return table;
}

void table_free(Table *table)
{
	if (!table)
		return;
	g_ptr_array_unref(table->rows);
	g_free(table);
}

void table_add(Table *table, TableShape *shape, const char *const *cells)
{
	size_t n = strlen(shape->align);
	Row *row = g_new0(Row, 1);

	g_assert(n <= TABLE_COLUMNS);
	row->shape = shape;
	row->cells = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; i < n; i++) {
		char *cell = log_line(cells[i] ? cells[i] : "-");

		g_ptr_array_add(row->cells, cell);
		shape->width[i] = MAX(shape->width[i],
			g_utf8_strlen(cell, -1));
	}
	g_ptr_array_add(table->rows, row);
}

static void append_spaces(GString *line, glong n)
{
	for (; n > 0; n--)
		g_string_append_c(line, ' ');
}

static char *row_line(const Row *row)
{
	const TableShape *shape = row->shape;
	GString *line = g_string_new(NULL);

	append_spaces(line, shape->indent);
	for (guint i = 0; i < row->cells->len; i++) {
		const char *cell = row->cells->pdata[i];
		glong space = shape->width[i] - g_utf8_strlen(cell, -1);

		if (shape->align[i] == 'r')
			append_spaces(line, space);
		g_string_append(line, cell);
		if (shape->align[i] == 'l')
			append_spaces(line, space);
		append_spaces(line, GAP);
	}
	return g_strchomp(g_string_free(line, FALSE));
}

void table_print(const Table *table, FILE *file)
{
	for (guint i = 0; i < table->rows->len; i++) {
		g_autofree char *line = row_line(table->rows->pdata[i]);

		fprintf(file, "%s\n", line);
	}
}
