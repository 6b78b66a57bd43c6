/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-error.h"

#include <errno.h>

#include <gio/gio.h>

static void test_set(void)
{
	g_autoptr(GError) error = NULL;

	fleece_set_error(&error, EBUSY, "disk %s: %d%%", "vda", 7);
	g_assert_error(error, FLEECE_ERROR, EBUSY);
	g_assert_cmpstr(error->message, ==, "disk vda: 7%");
}

static void test_set_errno(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *expected = g_strdup_printf("open %s: %s", "/x",
		g_strerror(ENOENT));

	fleece_set_error_errno(&error, ENOENT, "open %s", "/x");
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_assert_cmpstr(error->message, ==, expected);
}

/* QEMU's words may hold anything; they must not be formatted again. */
static void test_percent_in_argument(void)
{
	g_autoptr(GError) error = NULL;

	fleece_set_error(&error, EIO, "QEMU: %s", "no %s%n here");
	g_assert_cmpstr(error->message, ==, "QEMU: no %s%n here");
}

static void test_null_is_allowed(void)
{
	fleece_set_error(NULL, EIO, "nobody %s", "listens");
	fleece_set_error_errno(NULL, EIO, "nobody %s", "listens");
}

static void test_prefix(void)
{
	g_autoptr(GError) error = NULL;

	fleece_set_error(&error, EIO, "no such node");
	g_prefix_error(&error, "vm %s: ", "web");
	g_assert_cmpstr(error->message, ==, "vm web: no such node");
	g_assert_cmpint(fleece_error_errno(error), ==, EIO);
}

static void check_errno(GQuark domain, int code, int expected)
{
	g_autoptr(GError) error = g_error_new_literal(domain, code, "x");

	g_assert_cmpint(fleece_error_errno(error), ==, expected);
}

static void test_errno_of_ours(void)
{
	check_errno(FLEECE_ERROR, ENOSPC, ENOSPC);
	check_errno(FLEECE_ERROR, ETIMEDOUT, ETIMEDOUT);
	/* A system call must never be answered with 0 or less. */
	check_errno(FLEECE_ERROR, 0, EIO);
	check_errno(FLEECE_ERROR, -ENOENT, EIO);
}

static void test_errno_of_files(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;

	check_errno(G_FILE_ERROR, G_FILE_ERROR_NOENT, ENOENT);
	check_errno(G_FILE_ERROR, G_FILE_ERROR_ACCES, EACCES);
	check_errno(G_FILE_ERROR, G_FILE_ERROR_PERM, EPERM);
	check_errno(G_FILE_ERROR, G_FILE_ERROR_NOSPC, ENOSPC);
	check_errno(G_FILE_ERROR, G_FILE_ERROR_FAILED, EIO);

	g_assert_false(g_file_get_contents("/proc/self/none", &text, NULL,
		&error));
	g_assert_cmpint(fleece_error_errno(error), ==, ENOENT);
}

static void test_errno_of_others(void)
{
	check_errno(g_quark_from_static_string("other"), ENOENT, EIO);
	check_errno(G_IO_ERROR, G_IO_ERROR_FAILED, EIO);
	check_errno(G_IO_ERROR, G_IO_ERROR_TIMED_OUT, ETIMEDOUT);
	g_assert_cmpint(fleece_error_errno(NULL), ==, EIO);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fleece-error/set", test_set);
	g_test_add_func("/fleece-error/set-errno", test_set_errno);
	g_test_add_func("/fleece-error/percent", test_percent_in_argument);
	g_test_add_func("/fleece-error/null", test_null_is_allowed);
	g_test_add_func("/fleece-error/prefix", test_prefix);
	g_test_add_func("/fleece-error/errno/ours", test_errno_of_ours);
	g_test_add_func("/fleece-error/errno/files", test_errno_of_files);
	g_test_add_func("/fleece-error/errno/others", test_errno_of_others);
	return g_test_run();
}
