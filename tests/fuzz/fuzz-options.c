/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command line, an argument a line: all values within their bounds, or an
 * error of one line. */
#include "options.h"

#include "fleece-error.h"
#include "fuzz.h"

static void check(const Options *options)
{
	const Settings *settings = options->settings;

	g_assert_nonnull(options->source);
	g_assert_nonnull(options->fsname);
	g_assert_true(g_path_is_absolute(options->mountpoint));
	g_assert_cmpuint(options->umask, <=, 0777);
	g_assert_true(!options->max_read || options->max_read >= 4096);
	g_assert_cmpuint(options->uid, !=, (uid_t)-1);
	g_assert_cmpuint(options->gid, !=, (gid_t)-1);
	g_assert_true(!options->name || options->name[0]);
	g_assert_cmpuint(settings->cbw_timeout - 1, <, 3600);
	g_assert_cmpuint(settings->timeout_ms - 1, <, 3600 * 1000);
	g_assert_cmpuint(settings->timeout_ms % 1000, ==, 0);
	g_assert_cmpuint(settings->read_timeout_ms - 1, <, 3600 * 1000);
	g_assert_cmpuint(settings->connections - 1, <, 16);
	g_assert_cmpuint(settings->keep, <=, 1000);
	g_assert_true(g_path_is_absolute(settings->scratch));
	g_assert_cmpint(options->fuse.argc, >=, 1);
	g_assert_null(options->fuse.argv[options->fuse.argc]);
}

/* They print and exit. */
static bool asks_for_help(const char *argument)
{
	static const char *const words[] = { "-h", "-V", "--help",
		"--version" };

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
		if (strstr(argument, words[i]))
			return true;
	}
	return false;
}

static void try_arguments(GPtrArray *argv)
{
	g_autoptr(GError) error = NULL;
	Options options;
	bool parsed = options_parse(&options, (int)argv->len - 1,
		(char **)argv->pdata, &error);

	fuzz_assert_told(parsed, error);
	if (parsed)
		check(&options);
	else
		g_assert_cmpint(error->domain, ==, FLEECE_ERROR);
	options_clear(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	bool helper = fuzz_byte(&in) & 1;
	char *argument;

	g_ptr_array_add(argv, g_strdup(helper ? "mount.fleecefs" :
		"fleecefs"));
	while ((argument = fuzz_line(&in))) {
		g_ptr_array_add(argv, argument);
		if (asks_for_help(argument))
			return 0;
	}
	g_ptr_array_add(argv, NULL);
	try_arguments(argv);
	return 0;
}
