/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status-table.h"

#include <stdlib.h>

static char *table_of(const char *vms, const char *only)
{
	g_autofree char *text = g_strdup_printf("{\"vms\":%s}", vms);
	g_autoptr(GError) error = NULL;
	g_autoptr(json_object) status = status_parse(text, &error);
	json_object *array;
	char *table = NULL;
	size_t size;
	FILE *file = open_memstream(&table, &size);

	g_assert_no_error(error);
	array = status_array(status, "vms");
	status_table_print(array, only ? status_find(array, "vm", only) : NULL,
		file);
	fclose(file);
	return table;
}

#define TITLES_OF_NONE "VM  STATE  INSTANT  AGE  METHOD  PAUSE\n"
#define DISK_TITLES "  DISK  MODE  BASE  SIZE  DIRTY  READ  FREED  SCRATCH\n"

static void check(const char *vms, const char *only, const char *expected)
{
	char *table = table_of(vms, only);

	g_assert_cmpstr(table, ==, expected);
	free(table);
}

static void test_nothing(void)
{
	check("[]", NULL, TITLES_OF_NONE DISK_TITLES);
}

static void test_chain(void)
{
	check("[{\"vm\":\"w\",\"state\":\"live\",\"instant\":\"I\",\"age_s\":"
	      "61.5,\"method\":\"job\",\"pause_ms\":0.0,\"chain\":\"night\","
	      "\"committed\":true,\"disks\":["
	      "{\"name\":\"a\",\"mode\":\"incremental\",\"base\":\"B\","
	      "\"size\":65536,\"dirty\":0},"
	      "{\"name\":\"b\",\"mode\":\"full\",\"reason\":\"first\","
	      "\"base\":null,\"size\":512,\"dirty\":512,\"read_bytes\":1,"
	      "\"freed_bytes\":2,\"scratch_bytes\":3,\"failed_reads\":4}]}]",
		NULL,
		"VM  STATE  INSTANT    AGE  METHOD   PAUSE\n"
		"  DISK  MODE         BASE     SIZE  DIRTY  READ  FREED  "
		"SCRATCH\n"
		"w   live   I        1m01s  job     0.0 ms\n"
		"  a     incremental  B      64 KiB    0 B     -      -  "
		"      -\n"
		"  b     full         first   512 B  512 B   1 B    2 B  "
		"    3 B\n"
		"  failed reads: 4 of disk b\n"
		"  chain: night, committed\n");
}

static void test_chain_without_more(void)
{
	check("[{\"vm\":\"w\",\"chain\":\"c\",\"committed\":null}]", NULL,
		TITLES_OF_NONE DISK_TITLES
		"w   -      -          -  -           -\n"
		"  chain: c\n");
}

static void test_only(void)
{
	check("[{\"vm\":\"v\"},{\"vm\":\"w\",\"why\":\"x\\u001b[2J\\n\","
	      "\"error\":\"y\"}]",
		"w",
		TITLES_OF_NONE DISK_TITLES
		"w   -      -          -  -           -\n"
		"  why: x?[2J?\n"
		"  error: y\n");
}

/* Of other types than they should be, or not there at all. */
static void test_strange(void)
{
	check("[{\"vm\":1,\"state\":[],\"age_s\":\"1\",\"pause_ms\":{},"
	      "\"disks\":[null,3,{\"size\":\"1\",\"failed_reads\":1}],"
	      "\"error\":true},null,[]]",
		NULL,
		TITLES_OF_NONE DISK_TITLES
		"-   -      -          -  -           -\n"
		"  -     -     -        -      -     -      -        -\n"
		"  -     -     -        -      -     -      -        -\n"
		"  -     -     -        -      -     -      -        -\n"
		"  failed reads: 1 of disk -\n"
		"-   -      -          -  -           -\n"
		"-   -      -          -  -           -\n");
}

static void test_no_status(void)
{
	static const char *const texts[] = { "", "{", "[]", "null", "{}",
		"{\"vms\":null}", "{\"vms\":{}}" };

	for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_null(status_parse(texts[i], &error));
		g_assert_nonnull(error);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/status-table/nothing", test_nothing);
	g_test_add_func("/status-table/chain", test_chain);
	g_test_add_func("/status-table/chain-without-more",
		test_chain_without_more);
	g_test_add_func("/status-table/only", test_only);
	g_test_add_func("/status-table/strange", test_strange);
	g_test_add_func("/status-table/no-status", test_no_status);
	return g_test_run();
}
