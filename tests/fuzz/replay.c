/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay - runs a target over the files that are kept, without a fuzzer
 *
 * Each argument is a file or a folder of files.  One without any is an error:
 * a corpus that got lost must not look like one that passes.
 */
#include <stdio.h>

#include "fuzz.h"

static unsigned count;

static void replay_file(const char *path)
{
	g_autofree char *bytes = NULL;
	g_autofree uint8_t *exact = NULL;
	g_autoptr(GError) error = NULL;
	gsize size;

	if (!g_file_get_contents(path, &bytes, &size, &error))
		g_error("%s", error->message);
	/* without GLib's NUL behind it, so that reading too far is seen */
	exact = g_memdup2(bytes, size);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(exact, size);
	count++;
}

static void replay(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	if (!dir) {
		replay_file(path);
		return;
	}
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		replay_file(file);
	}
	g_dir_close(dir);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%u files\n", count);
	return count == 0;
}
