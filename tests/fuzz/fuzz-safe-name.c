/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A name a line: as file names they are harmless, apart, and to be read back
 * where they were not cut. */
#include "safe-name.h"

#include "fuzz.h"

#define NAMES 64
/* What any suffix of "~N" adds at most here. */
#define UNIQUE_MAX (SAFE_NAME_MAX + 8)

static void assert_harmless(const char *file, size_t max)
{
	g_assert_cmpuint(strlen(file), >, 0);
	g_assert_cmpuint(strlen(file), <=, max);
	g_assert_true(g_utf8_validate(file, -1, NULL));
	g_assert_null(strchr(file, '/'));
	g_assert_true(file[0] != '.' && file[0] != '-');
	g_assert_cmpstr(file, !=, "vm.json");
	for (const char *p = file; *p; p++)
		g_assert_false(g_ascii_iscntrl(*p));
}

static char *unescape(const char *file)
{
	GString *name = g_string_new(NULL);

	for (const char *p = file; *p; p++) {
		char c = *p;

		if (c == '%') {
			c = g_ascii_xdigit_value(p[1]) << 4 |
				g_ascii_xdigit_value(p[2]);
			p += 2;
		}
		g_string_append_c(name, c);
	}
	return g_string_free(name, FALSE);
}

static void try_name(const char *name, GHashTable *taken)
{
	g_autofree char *file = safe_name(name);
	unsigned before = g_hash_table_size(taken);
	const char *unique = safe_name_unique(name, taken);

	assert_harmless(file, SAFE_NAME_MAX);
	assert_harmless(unique, UNIQUE_MAX);
	g_assert_true(g_str_has_prefix(unique, file));
	g_assert_cmpuint(g_hash_table_size(taken), ==, before + 1);
	g_assert_true(g_hash_table_contains(taken, unique));
	/* a cut takes less than a character and an escape */
	if (strlen(file) < SAFE_NAME_MAX - 8) {
		g_autofree char *again = unescape(file);

		g_assert_cmpstr(again, ==, name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	char *name;

	for (unsigned i = 0; i < NAMES && (name = fuzz_line(&in)); i++) {
		try_name(name, taken);
		g_free(name);
	}
	return 0;
}
