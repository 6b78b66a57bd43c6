/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd_export_read_allocation() against real servers. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "autofd.h"
#include "extent-list.h"
#include "fleece-error.h"
#include "nbd-fixture.h"

static ExtentList *allocation_of(NbdFixture *f)
{
	g_autoptr(GError) error = NULL;
	ExtentList *list = nbd_export_read_allocation(f->export, NULL, &error);

	g_assert_no_error(error);
	g_assert_true(extent_list_is_complete(list));
	return list;
}

/* Data is written here and there, the rest stays a hole. */
static uint64_t make_sparse_file(const char *path)
{
	uint64_t size = UINT64_C(3) << 30; /* more than one question */
	AUTOFD int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	g_assert_cmpint(ftruncate(fd, size), ==, 0);
	for (unsigned i = 0; i < 500; i++) {
		uint64_t at = g_test_rand_int_range(0, size / 65536);

		g_assert_cmpint(pwrite(fd, "data", 4, at * 65536), ==, 4);
	}
	return size;
}

static ExtentList *allocation_by_lseek(const char *path, uint64_t size)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ExtentList *list = extent_list_new(size);

	while (!extent_list_is_complete(list)) {
		uint64_t from = extent_list_filled(list);
		off_t data = lseek(fd, from, SEEK_DATA);

		if (data < 0 || (uint64_t)data > from)
			extent_list_append(list,
				data < 0 ? size - from : data - from,
				EXTENT_ZERO);
		else
			extent_list_append(
				list, lseek(fd, from, SEEK_HOLE) - from, 0);
	}
	return list;
}

static void test_allocation(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autofree char *path = g_build_filename(f->dir, "disk", NULL);
	uint64_t size = make_sparse_file(path);
	g_autoptr(ExtentList) expected = allocation_by_lseek(path, size);
	g_autoptr(ExtentList) list = NULL;

	nbd_fixture_serve(f, "qemu-nbd -r -t -e 8 -f raw -k $socket $dir/disk");
	nbd_fixture_open(f, size, 1);
	nbd_fixture_connect(f, "base:allocation");
	list = allocation_of(f);
	g_assert_cmpuint(extent_list_count(expected), >, 100);
	g_assert_cmpuint(
		extent_list_count(list), ==, extent_list_count(expected));
	for (size_t i = 0; i < extent_list_count(expected); i++) {
		Extent want = extent_list_get(expected, i);
		Extent have = extent_list_get(list, i);

		g_assert_cmpuint(have.offset, ==, want.offset);
		g_assert_cmpuint(have.length, ==, want.length);
		g_assert_cmpuint(have.flags, ==, want.flags);
	}
}

/* One extent in each answer; a hole that does not read as zeros is data. */
static void test_short_extents(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(ExtentList) list = NULL;

	nbd_fixture_serve_script(f,
		"pread) head -c $3 /dev/zero;;\n"
		"can_extents) exit 0;;\n"
		"extents) case $(($4 / 65536 % 4)) in\n"
		"0) type=;; 1) type=hole,zero;; 2) type=hole;; 3) type=zero;;\n"
		"esac\n"
		"echo $4 $((65536 - $4 % 65536)) $type;;\n");
	nbd_fixture_new_export(f, MIB, 10000, 1);
	nbd_fixture_connect(f, "base:allocation");
	list = allocation_of(f);
	g_assert_cmpuint(extent_list_count(list), ==, 16);
	for (size_t i = 0; i < 16; i++)
		g_assert_cmpuint(extent_list_get(list, i).flags, ==,
			i % 2 ? EXTENT_ZERO : 0);
}

static void test_allocation_errno(
	NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GError) error = NULL;

	nbd_fixture_serve_script(f,
		"pread) head -c $3 /dev/zero;;\n"
		"can_extents) exit 0;;\n"
		"extents) echo EINVAL trimmed >&2; exit 1;;\n");
	nbd_fixture_new_export(f, MIB, 10000, 0);
	nbd_fixture_connect(f, "base:allocation");
	g_assert_null(nbd_export_read_allocation(f->export, NULL, &error));
	g_assert_error(error, FLEECE_ERROR, EINVAL);
	g_assert_false(nbd_export_is_lost(f->export));
}

static void add(const char *name, gconstpointer data,
	void (*test)(NbdFixture *f, gconstpointer data))
{
	g_autofree char *path = g_strconcat("/nbd-allocation/", name, NULL);

	g_test_add(path, NbdFixture, data, nbd_fixture_set_up, test,
		nbd_fixture_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("sparse-file", NULL, test_allocation);
	add("short-extents", NULL, test_short_extents);
	add("errno", NULL, test_allocation_errno);
	return g_test_run();
}
