/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

#include <stdlib.h>

static void check(const Table *table, const char *expected)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	table_print(table, file);
	fclose(file);
	g_assert_cmpstr(text, ==, expected);
	free(text);
}

static void test_columns(void)
{
	g_autoptr(Table) table = table_new();
	TableShape shape = { 0, "lrl" };

	check(table, "");
	table_add(table, &shape, (const char *[]){ "NAME", "SIZE", "WHY" });
	table_add(table, &shape, (const char *[]){ "a", "1", "because" });
	table_add(table, &shape, (const char *[]){ "longer", "10000", NULL });
	check(table,
		"NAME     SIZE  WHY\n"
		"a           1  because\n"
		"longer  10000  -\n");
}

static void test_shapes(void)
{
	g_autoptr(Table) table = table_new();
	TableShape outer = { 0, "ll" }, inner = { 2, "lr" };

	table_add(table, &outer, (const char *[]){ "web01", "x" });
	table_add(table, &inner, (const char *[]){ "a", "1" });
	table_add(table, &inner, (const char *[]){ "a-long-name", "20" });
	table_add(table, &outer, (const char *[]){ "w", "y" });
	check(table,
		"web01  x\n"
		"  a             1\n"
		"  a-long-name  20\n"
		"w      y\n");
}

/* Nothing that moves a cursor; a letter is a column, however many bytes. */
static void test_strange_text(void)
{
	g_autoptr(Table) table = table_new();
	TableShape shape = { 0, "ll" };

	table_add(table, &shape, (const char *[]){ "a\x1b[2J\nb", "1" });
	table_add(table, &shape, (const char *[]){ "Gr\xc3\xb6\xc3\x9f" "e",
		"2" });
	table_add(table, &shape, (const char *[]){ "", "" });
	check(table,
		"a?[2J?b  1\n"
		"Gr\xc3\xb6\xc3\x9f" "e    2\n"
		"\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/table/columns", test_columns);
	g_test_add_func("/table/shapes", test_shapes);
	g_test_add_func("/table/strange-text", test_strange_text);
	return g_test_run();
}
