/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "safe-name.h"

#include <stdbool.h>
#include <string.h>

static bool is_reserved(const char *name)
{
	return g_str_equal(name, ".fleecefs") || g_str_equal(name, "vm.json");
}

static bool is_plain(unsigned char c, bool first)
{
	if (c < 0x20 || c == 0x7f || c == '/' || c == '%')
		return false;
	return !(first && (c == '.' || c == '-'));
}

/* Cuts text to at most SAFE_NAME_MAX bytes, never inside a character. */
static void cut(GString *text)
{
	const char *end;

	if (text->len <= SAFE_NAME_MAX)
		return;
	g_string_truncate(text, SAFE_NAME_MAX);
	if (!g_utf8_validate(text->str, -1, &end))
		g_string_truncate(text, end - text->str);
}

char *safe_name_stem(const char *path)
{
	char *name = g_path_get_basename(path);
	char *dot = strrchr(name, '.');

	if (dot && dot != name)
		*dot = '\0';
	return name;
}

char *safe_name(const char *name)
{
	GString *out = g_string_new(NULL);
	bool utf8 = g_utf8_validate(name, -1, NULL);
	bool reserved = is_reserved(name);

	for (const char *p = name; *p; p++) {
		unsigned char c = *p;
		bool plain = is_plain(c, p == name) && (utf8 || c < 0x80) &&
			!(reserved && c == '.');

		if (plain)
			g_string_append_c(out, c);
		else
			g_string_append_printf(out, "%%%02X", c);
	}
	if (out->len == 0)
		g_string_append(out, "%00");
	cut(out);
	return g_string_free(out, FALSE);
}

const char *safe_name_unique(const char *name, GHashTable *taken)
{
	g_autofree char *plain = safe_name(name);
	char *candidate = g_strdup(plain);

	for (unsigned n = 2; g_hash_table_contains(taken, candidate); n++) {
		g_free(candidate);
		candidate = g_strdup_printf("%s~%u", plain, n);
	}
	g_hash_table_add(taken, candidate);
	return candidate;
}
