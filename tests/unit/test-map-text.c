/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "map-text.h"

#include <stdbool.h>
#include <string.h>

#include <glib/gstdio.h>

#define SECTOR 512
#define GUARD '\x55'

#define HEAD \
	"# Mapfile. Created by fleecefs\n" \
	"# current_pos  current_status  current_pass\n" \
	"0x00000000     ?               1\n" \
	"#      pos        size  status\n"

/* A list of random runs; flags gets those of every sector. */
static ExtentList *random_list(uint8_t *flags, size_t sectors)
{
	ExtentList *list = extent_list_new((uint64_t)sectors * SECTOR);
	size_t at = 0;

	while (at < sectors) {
		size_t run = g_test_rand_int_range(1, 6);
		unsigned some = g_test_rand_int_range(0, EXTENT_FLAGS + 1);

		g_assert_true(extent_list_append(list, run * SECTOR, some));
		for (size_t i = 0; i < run && at < sectors; i++)
			flags[at++] = some;
	}
	return list;
}

static void add_line(GString *text, enum map_format format, unsigned flags,
	size_t start, size_t end, size_t sectors)
{
	unsigned long offset = start * SECTOR;
	unsigned long length = (end - start) * SECTOR;

	if (format == MAP_FORMAT_MAPFILE)
		g_string_append_printf(text, "0x%08lX  0x%08lX  %c\n", offset,
			length, flags & EXTENT_DIRTY ? '+' : '?');
	else
		g_string_append_printf(text, "{\"offset\":%lu,\"length\":%lu,"
			"\"dirty\":%s,\"zero\":%s}%s\n", offset, length,
			flags & EXTENT_DIRTY ? "true" : "false",
			flags & EXTENT_ZERO ? "true" : "false",
			end == sectors ? "" : ",");
}

/* The naive text, made from the flags of every sector. */
static GString *model_text(const uint8_t *flags, size_t sectors,
	enum map_format format)
{
	bool json = format == MAP_FORMAT_JSON;
	unsigned told = json ? EXTENT_FLAGS : EXTENT_DIRTY;
	GString *text = g_string_new(json ? "[\n" : HEAD);
	size_t start = 0;

	for (size_t at = 1; at <= sectors; at++) {
		if (at < sectors && ((flags[at] ^ flags[start]) & told) == 0)
			continue;
		add_line(text, format, flags[start], start, at, sectors);
		start = at;
	}
	if (json)
		g_string_append(text, "]\n");
	return text;
}

static char *read_all(const MapText *text, size_t *size)
{
	char *buffer;

	*size = map_text_size(text);
	buffer = g_malloc0(*size + 2);
	g_assert_cmpuint(map_text_read(text, 0, buffer, *size + 1), ==, *size);
	return buffer;
}

static void check_read(const MapText *text, const GString *expected,
	uint64_t offset, size_t length)
{
	char buffer[256];
	size_t left = offset < expected->len ? expected->len - offset : 0;
	size_t count;

	g_assert_cmpuint(length, <, sizeof(buffer));
	memset(buffer, GUARD, sizeof(buffer));
	count = map_text_read(text, offset, buffer, length);
	g_assert_cmpuint(count, ==, MIN(length, left));
	g_assert_cmpmem(buffer, count, expected->str + MIN(offset,
		expected->len), count);
	g_assert_cmpint(buffer[length], ==, GUARD);
}

static void check_list(const ExtentList *list, const uint8_t *flags,
	size_t sectors, enum map_format format)
{
	g_autoptr(MapText) text = map_text_new(list, format);
	GString *expected = model_text(flags, sectors, format);
	g_autofree char *whole = NULL;
	size_t size;

	whole = read_all(text, &size);
	g_assert_cmpstr(whole, ==, expected->str);
	g_assert_cmpuint(size, ==, expected->len);
	for (int i = 0; i < 300; i++)
		check_read(text, expected,
			g_test_rand_int_range(0, size + 10),
			g_test_rand_int_range(0, 200));
	g_string_free(expected, TRUE);
}

/* From no line to many times what the index skips. */
static void test_random(void)
{
	for (int round = 0; round < 100; round++) {
		uint8_t flags[6000];
		size_t most = round % 2 ? G_N_ELEMENTS(flags) : 30;
		size_t sectors = g_test_rand_int_range(0, most + 1);
		g_autoptr(ExtentList) list = random_list(flags, sectors);

		check_list(list, flags, sectors, MAP_FORMAT_MAPFILE);
		check_list(list, flags, sectors, MAP_FORMAT_JSON);
	}
}

static void check_every_read(enum map_format format)
{
	uint8_t flags[2500];
	size_t sectors = G_N_ELEMENTS(flags);
	g_autoptr(ExtentList) list = random_list(flags, sectors);
	g_autoptr(MapText) text = map_text_new(list, format);
	GString *expected = model_text(flags, sectors, format);

	/* More than one mark, or the index is not tested. */
	g_assert_cmpuint(extent_list_count(list), >, 512);
	for (uint64_t offset = 0; offset < expected->len + 3; offset++) {
		for (size_t length = 0; length < 8; length++)
			check_read(text, expected, offset, length);
		check_read(text, expected, offset, 100);
		check_read(text, expected, offset, 255);
	}
	g_string_free(expected, TRUE);
}

static void test_every_read(void)
{
	check_every_read(MAP_FORMAT_MAPFILE);
	check_every_read(MAP_FORMAT_JSON);
}

static void check_text(const ExtentList *list, enum map_format format,
	const char *expected)
{
	g_autoptr(MapText) text = map_text_new(list, format);
	size_t size;
	g_autofree char *whole = read_all(text, &size);
	char none;

	g_assert_cmpstr(whole, ==, expected);
	g_assert_cmpuint(map_text_read(text, size, &none, 1), ==, 0);
	g_assert_cmpuint(map_text_read(text, UINT64_MAX, &none, 1), ==, 0);
}

static void test_empty_disk(void)
{
	g_autoptr(ExtentList) list = extent_list_new(0);

	check_text(list, MAP_FORMAT_MAPFILE, HEAD);
	check_text(list, MAP_FORMAT_JSON, "[\n]\n");
}

static void test_zero_does_not_split(void)
{
	g_autoptr(ExtentList) list = extent_list_new(3072);

	extent_list_append(list, 1024, EXTENT_DIRTY);
	extent_list_append(list, 1024, EXTENT_DIRTY | EXTENT_ZERO);
	extent_list_append(list, 1024, EXTENT_ZERO);
	check_text(list, MAP_FORMAT_MAPFILE, HEAD
		"0x00000000  0x00000800  +\n"
		"0x00000800  0x00000400  ?\n");
	check_text(list, MAP_FORMAT_JSON, "[\n"
		"{\"offset\":0,\"length\":1024,"
		"\"dirty\":true,\"zero\":false},\n"
		"{\"offset\":1024,\"length\":1024,"
		"\"dirty\":true,\"zero\":true},\n"
		"{\"offset\":2048,\"length\":1024,"
		"\"dirty\":false,\"zero\":true}\n"
		"]\n");
}

static void test_largest_disk(void)
{
	g_autoptr(ExtentList) list = extent_list_new(UINT64_C(1) << 61);

	extent_list_append(list, (UINT64_C(1) << 61) - 1, EXTENT_DIRTY);
	extent_list_append(list, 1, 0);
	check_text(list, MAP_FORMAT_MAPFILE, HEAD
		"0x00000000  0x1FFFFFFFFFFFFFFF  +\n"
		"0x1FFFFFFFFFFFFFFF  0x00000001  ?\n");
	check_text(list, MAP_FORMAT_JSON, "[\n"
		"{\"offset\":0,\"length\":2305843009213693951,"
		"\"dirty\":true,\"zero\":false},\n"
		"{\"offset\":2305843009213693951,\"length\":1,"
		"\"dirty\":false,\"zero\":false}\n"
		"]\n");
}

/* Runs ddrescuelog; returns what it prints. */
static char *ddrescuelog(const char *option, const char *path)
{
	const char *argv[] = { "ddrescuelog", option, path, NULL };
	g_autofree char *errors = NULL;
	g_autoptr(GError) error = NULL;
	char *output = NULL;
	int status;

	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
		G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &errors, &status,
		&error));
	if (!g_spawn_check_wait_status(status, NULL))
		g_error("ddrescuelog %s: %s", option, errors);
	return output;
}

/* The numbers of the sectors that are dirty, or of those that are not. */
static GString *model_sectors(const uint8_t *flags, size_t sectors,
	unsigned want)
{
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < sectors; i++) {
		if ((flags[i] & EXTENT_DIRTY) == want)
			g_string_append_printf(text, "%zu\n", i);
	}
	return text;
}

static void check_listing(const char *path, const char *option,
	const uint8_t *flags, size_t sectors, unsigned want)
{
	g_autofree char *listed = ddrescuelog(option, path);
	GString *expected = model_sectors(flags, sectors, want);

	g_assert_cmpstr(listed, ==, expected->str);
	g_string_free(expected, TRUE);
}

static void check_ddrescuelog(size_t sectors, const char *path)
{
	g_autofree uint8_t *flags = g_malloc0(sectors + 1);
	g_autoptr(ExtentList) list = random_list(flags, sectors);
	g_autoptr(MapText) text = map_text_new(list, MAP_FORMAT_MAPFILE);
	size_t size;
	g_autofree char *whole = read_all(text, &size);
	g_autofree char *shown = NULL;

	g_assert_true(g_file_set_contents(path, whole, size, NULL));
	shown = ddrescuelog("-t", path);
	if (sectors > 0)
		g_assert_nonnull(strstr(shown, "mapfile extent:"));
	check_listing(path, "-l+", flags, sectors, EXTENT_DIRTY);
	check_listing(path, "-l?", flags, sectors, 0);
}

static void test_ddrescuelog(void)
{
	g_autofree char *tool = g_find_program_in_path("ddrescuelog");
	g_autofree char *dir = g_dir_make_tmp("map-text-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "mapfile", NULL);

	if (tool) {
		check_ddrescuelog(0, path);
		check_ddrescuelog(1, path);
		check_ddrescuelog(5000, path);
	} else if (g_getenv("FLEECEFS_TESTS_MUST_RUN")) {
		g_test_fail_printf("ddrescuelog is not installed");
	} else {
		g_test_skip("ddrescuelog is not installed");
	}
	g_unlink(path);
	g_rmdir(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/map-text/random", test_random);
	g_test_add_func("/map-text/every-read", test_every_read);
	g_test_add_func("/map-text/empty-disk", test_empty_disk);
	g_test_add_func("/map-text/zero", test_zero_does_not_split);
	g_test_add_func("/map-text/largest-disk", test_largest_disk);
	g_test_add_func("/map-text/ddrescuelog", test_ddrescuelog);
	return g_test_run();
}
