/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An empty qcow2 image is one to QEMU's own tools, too. */
#include "scratch-image.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <glib/gstdio.h>

#include "fleece-error.h"

#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
/* What the largest table that QEMU opens can speak of. */
#define LARGEST (UINT64_C(2048) * TIB)

typedef struct {
	char *folder;
	char *path;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused)
{
	f->folder = g_dir_make_tmp("scratch-image-XXXXXX", NULL);
	f->path = g_build_filename(f->folder, "image", NULL);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
	g_unlink(f->path);
	g_assert_cmpint(g_rmdir(f->folder), ==, 0);
	g_free(f->path);
	g_free(f->folder);
}

/* What qemu-img says, which has to be content. */
static char *ask(const char *what, const char *path)
{
	const char *const words[] = { "qemu-img", what, "-f", "qcow2",
		"--output=json", path, NULL };
	g_autofree char *failure = NULL;
	g_autoptr(GError) error = NULL;
	char *said;
	int status;

	g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL,
		NULL, &said, &failure, &status, &error);
	g_assert_no_error(error);
	if (status)
		g_error("qemu-img %s: %s%s", what, said, failure);
	return said;
}

static void assert_says(const char *said, const char *name, uint64_t value)
{
	g_autofree char *words = g_strdup_printf("\"%s\": %" G_GUINT64_FORMAT
		"[,\n]", name, value);

	if (!g_regex_match_simple(words, said, 0, 0))
		g_error("no %s in %s", words, said);
}

static void check_image(const Fixture *f, uint64_t size)
{
	g_autofree char *check = ask("check", f->path);
	g_autofree char *info = ask("info", f->path);

	assert_says(check, "check-errors", 0);
	assert_says(info, "virtual-size", size);
	assert_says(info, "cluster-size", 65536);
}

static void test_sizes(Fixture *f, gconstpointer unused)
{
	static const uint64_t sizes[] = { 0, 512, 65536, GIB / 2 - 512,
		GIB / 2, GIB / 2 + 512, 8 * TIB, LARGEST };

	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autoptr(GError) error = NULL;
		struct stat st;

		g_assert_true(scratch_image_make(f->path, sizes[i], &error));
		g_assert_no_error(error);
		check_image(f, sizes[i]);
		g_assert_cmpint(stat(f->path, &st), ==, 0);
		g_assert_cmpint(st.st_mode & 0777, ==, 0600);
		g_unlink(f->path);
	}
}

static void assert_refused(const Fixture *f, uint64_t size, int code)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(scratch_image_make(f->path, size, &error));
	g_assert_error(error, FLEECE_ERROR, code);
	g_assert_nonnull(strstr(error->message, f->path));
}

static void test_refused(Fixture *f, gconstpointer unused)
{
	g_autofree char *contents = NULL;

	assert_refused(f, LARGEST + 512, EFBIG);
	g_assert_false(g_file_test(f->path, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_set_contents(f->path, "theirs", -1, NULL));
	assert_refused(f, GIB, EEXIST);
	g_assert_true(g_file_get_contents(f->path, &contents, NULL, NULL));
	g_assert_cmpstr(contents, ==, "theirs");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/scratch-image/sizes", Fixture, NULL, set_up, test_sizes,
		tear_down);
	g_test_add("/scratch-image/refused", Fixture, NULL, set_up,
		test_refused, tear_down);
	return g_test_run();
}
