/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "safe-name.h"

#include <string.h>

static void check(const char *name, const char *expected)
{
	g_autofree char *safe = safe_name(name);

	g_assert_cmpstr(safe, ==, expected);
}

static void test_plain(void)
{
	check("virtio0", "virtio0");
	check("a.b-c d~2", "a.b-c d~2");
	check("Gr\xc3\xb6\xc3\x9f" "e", "Gr\xc3\xb6\xc3\x9f" "e");
	check("\\", "\\");
}

static void test_escaped(void)
{
	check("/machine/peripheral-anon/device[0]",
		"%2Fmachine%2Fperipheral-anon%2Fdevice[0]");
	check("100%", "100%25");
	check("a\nb\x7f\x1b", "a%0Ab%7F%1B");
	check(".", "%2E");
	check("..", "%2E.");
	check(".hidden", "%2Ehidden");
	check("-rf", "%2Drf");
	check("", "%00");
}

static void test_not_utf8(void)
{
	check("a\xff", "a%FF");
	check("\xc3\xb6\xc3", "%C3%B6%C3");
}

static void test_reserved(void)
{
	check(".fleecefs", "%2Efleecefs");
	check("vm.json", "vm%2Ejson");
	check("vm.json2", "vm.json2");
}

static void test_long(void)
{
	g_autofree char *ascii = g_strnfill(1000, 'x');
	g_autofree char *safe = safe_name(ascii);
	g_autoptr(GString) umlauts = g_string_new("x");
	g_autofree char *cut = NULL;

	g_assert_cmpuint(strlen(safe), ==, SAFE_NAME_MAX);

	ascii[SAFE_NAME_MAX] = '\0';
	check(ascii, ascii);

	/* The limit falls into the middle of a character. */
	for (int i = 0; i < SAFE_NAME_MAX; i++)
		g_string_append(umlauts, "\xc3\xb6");
	cut = safe_name(umlauts->str);
	g_assert_cmpuint(strlen(cut), ==, SAFE_NAME_MAX - 1);
	g_assert_true(g_utf8_validate(cut, -1, NULL));
}

static void test_unique(void)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);

	g_assert_cmpstr(safe_name_unique("a", taken), ==, "a");
	g_assert_cmpstr(safe_name_unique("a", taken), ==, "a~2");
	g_assert_cmpstr(safe_name_unique("a", taken), ==, "a~3");
	/* A name that looks like one of our own making. */
	g_assert_cmpstr(safe_name_unique("b~2", taken), ==, "b~2");
	g_assert_cmpstr(safe_name_unique("b", taken), ==, "b");
	g_assert_cmpstr(safe_name_unique("b", taken), ==, "b~3");
	g_assert_cmpstr(safe_name_unique("/", taken), ==, "%2F");
	g_assert_cmpstr(safe_name_unique("/", taken), ==, "%2F~2");
	g_assert_cmpuint(g_hash_table_size(taken), ==, 8);
}

/* Names that differ only behind the limit still get different files. */
static void test_unique_long(void)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	g_autofree char *first = g_strnfill(300, 'x');
	g_autofree char *second = g_strnfill(301, 'x');
	const char *a = safe_name_unique(first, taken);
	const char *b = safe_name_unique(second, taken);

	g_assert_cmpstr(a, !=, b);
	g_assert_cmpuint(strlen(b), ==, SAFE_NAME_MAX + 2);
}

static void assert_is_file_name(const char *name)
{
	g_assert_true(g_utf8_validate(name, -1, NULL));
	g_assert_cmpuint(strlen(name), >, 0);
	g_assert_cmpuint(strlen(name), <=, SAFE_NAME_MAX);
	g_assert_true(name[0] != '.' && name[0] != '-');
	for (const char *p = name; *p; p++) {
		g_assert_true(*p != '/');
		g_assert_false(g_ascii_iscntrl(*p));
	}
}

/* Whatever comes in is a file name, and can be told from it again. */
static void test_random(void)
{
	for (int round = 0; round < 20000; round++) {
		char name[SAFE_NAME_MAX / 3] = "";
		int length = g_test_rand_int_range(0, sizeof(name));
		g_autofree char *safe = NULL;
		g_autofree char *back = NULL;

		for (int i = 0; i < length; i++)
			name[i] = g_test_rand_int_range(1, 256);
		safe = safe_name(name);
		assert_is_file_name(safe);
		back = g_uri_unescape_string(safe, NULL);
		/* "%00" is refused by GLib: it stands for no byte at all */
		g_assert_cmpstr(back ? back : "", ==, name);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/safe-name/plain", test_plain);
	g_test_add_func("/safe-name/escaped", test_escaped);
	g_test_add_func("/safe-name/not-utf8", test_not_utf8);
	g_test_add_func("/safe-name/reserved", test_reserved);
	g_test_add_func("/safe-name/long", test_long);
	g_test_add_func("/safe-name/unique", test_unique);
	g_test_add_func("/safe-name/unique-long", test_unique_long);
	g_test_add_func("/safe-name/random", test_random);
	return g_test_run();
}
