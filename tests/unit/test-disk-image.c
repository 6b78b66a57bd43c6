/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images by name: which there are, what they are, and who may write. */
#include "disk-image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "autofd.h"
#include "fleece-error.h"

static void test_lists(void)
{
	static const struct {
		const char *list;
		const char *ids; /* NULL: refused */
	} rows[] = {
		{ "/a/va.qcow2", "va" },
		{ "/a/va.qcow2;/b/vb", "va vb" },
		{ " /a/va.x.raw ; /b/.hidden;", "va.x .hidden" },
		{ "/a/va.raw;/b/va.qcow2", NULL },
		{ ";/a/va.raw", NULL },
		{ "/a/va.raw;;/b/vb.raw", NULL },
		{ "", NULL },
		{ ";", NULL },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GPtrArray) images = disk_images_parse(rows[i].list,
			&error);
		g_autoptr(GString) ids = g_string_new(NULL);

		for (guint k = 0; images && k < images->len; k++) {
			const DiskImage *image = images->pdata[k];

			g_assert_true(g_path_is_absolute(image->path));
			g_string_append_printf(ids, "%s%s", k ? " " : "",
				image->id);
		}
		if (rows[i].ids)
			g_assert_cmpstr(ids->str, ==, rows[i].ids);
		else
			g_assert_error(error, FLEECE_ERROR, EINVAL);
	}
}

static void test_formats(void)
{
	static const struct {
		const char *suffix;
		const char *asked;
		const char *content;
		const char *format; /* NULL: refused */
	} rows[] = {
		{ ".raw", NULL, "", "raw" },
		{ ".raw", NULL, "any content at all", "raw" },
		{ ".img", NULL, "QFI", "raw" },
		{ ".qcow2", NULL, "QFI\xfb\x01", "qcow2" },
		{ ".qcow2", NULL, "", NULL },
		{ ".qcow2", NULL, "KDMV", NULL },
		{ ".img", NULL, "QFI\xfb", NULL },
		{ ".img", NULL, "vhdxfile", NULL },
		{ ".img", "qcow2", "QFI\xfb", "qcow2" },
		{ ".img", "raw", "QFI\xfb", "raw" },
		{ ".qcow2", "vmdk", "", "vmdk" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *path = g_strconcat("image", rows[i].suffix,
			NULL);
		DiskImage image = { path, path };
		const char *format;

		g_assert_true(g_file_set_contents(path, rows[i].content, -1,
			NULL));
		image.format = (char *)rows[i].asked;
		format = disk_image_format(&image, &error);
		g_assert_cmpstr(format, ==, rows[i].format);
		g_assert_true(!format == !!error);
		g_unlink(path);
	}
}

static void test_missing(void)
{
	char name[] = "missing";
	DiskImage image = { name, name };
	g_autoptr(GError) error = NULL;

	g_assert_null(disk_image_format(&image, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_clear_error(&error);
	g_assert_cmpint(disk_image_lock(&image, &error), ==, -1);
	g_assert_error(error, FLEECE_ERROR, ENOENT);
}

/* As a QEMU does that has a permission, or wants one. */
static bool lock_byte(int fd, int command, short type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET,
		.l_start = byte, .l_len = 1 };

	g_assert_cmpint(fcntl(fd, command, &lock), ==, 0);
	return lock.l_type == F_UNLCK;
}

static void test_lock(void)
{
	char name[] = "lock.raw";
	DiskImage image = { name, name };
	g_autoptr(GError) error = NULL;
	AUTOFD int qemu = -1;
	int fd;

	g_assert_true(g_file_set_contents(name, "x", -1, NULL));
	qemu = open(name, O_RDWR | O_CLOEXEC);
	fd = disk_image_lock(&image, &error);
	g_assert_no_error(error);
	g_assert_true(lock_byte(qemu, F_OFD_GETLK, F_WRLCK, 200));
	g_assert_false(lock_byte(qemu, F_OFD_GETLK, F_WRLCK, 201));
	g_assert_false(lock_byte(qemu, F_OFD_GETLK, F_WRLCK, 203));
	close(fd);
	g_assert_true(lock_byte(qemu, F_OFD_GETLK, F_WRLCK, 201));
	lock_byte(qemu, F_OFD_SETLK, F_RDLCK, 101);
	g_assert_cmpint(disk_image_lock(&image, &error), ==, -1);
	g_assert_error(error, FLEECE_ERROR, EBUSY);
	g_unlink(name);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = g_dir_make_tmp("fleecefs-image-XXXXXX",
		NULL);
	int failed;

	g_test_init(&argc, &argv, NULL);
	g_assert_cmpint(g_chdir(directory), ==, 0);
	g_test_add_func("/disk-image/lists", test_lists);
	g_test_add_func("/disk-image/formats", test_formats);
	g_test_add_func("/disk-image/missing", test_missing);
	g_test_add_func("/disk-image/lock", test_lock);
	failed = g_test_run();
	g_rmdir(directory);
	return failed;
}
