/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DiskView: reading, failing and closing. */
#include "disk-rig.h"

#include <errno.h>

/* --- reading --- */

static void test_read(DiskRig *rig, gconstpointer unused)
{
	rig_read(rig, 0, 1, 0);
	rig_read(rig, 12345, 70000, 0);
	rig_read(rig, DISK_SIZE - 1, 1, 0);
	rig_read(rig, HOLE_START - 10, 10, 0);
	rig_read(rig, HOLE_END, 10, 0);
	g_assert_cmpuint(rig_stats(rig).read, ==, 70022);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
	rig_assert_failed(rig, 0);
}

static void test_hole(DiskRig *rig, gconstpointer unused)
{
	rig_read_zeros(rig, HOLE_START, HOLE_END - HOLE_START);
	rig_read_zeros(rig, HOLE_START, 1);
	rig_read_zeros(rig, HOLE_END - 1, 1);
	rig_assert_log(rig, "");
	g_assert_cmpuint(rig_stats(rig).read, ==, HOLE_END - HOLE_START + 2);
	/* with one byte beside it the server is asked for all */
	rig_read(rig, HOLE_START - 1, 100, 0);
	rig_read(rig, HOLE_END - 99, 100, 0);
	rig_assert_log(rig, "read 524287 100; sent 524287 100; "
		"read 655261 100; sent 655261 100; ");
}

static void test_what_it_is(DiskRig *rig, gconstpointer unused)
{
	const ExtentList *extents = disk_view_extents(rig->view);

	g_assert_cmpstr(disk_view_name(rig->view), ==, "va");
	g_assert_cmpstr(disk_view_id(rig->view), ==, "id of va");
	g_assert_cmpuint(disk_view_size(rig->view), ==, DISK_SIZE);
	g_assert_cmpuint(disk_view_allocated(rig->view), ==,
		DISK_SIZE - (HOLE_END - HOLE_START));
	g_assert_cmpuint(extent_list_count(extents), ==, 3);
	g_assert_cmpuint(extent_list_get(extents, 0).flags, ==, EXTENT_DIRTY);
	g_assert_cmpuint(extent_list_get(extents, 1).flags, ==,
		EXTENT_DIRTY | EXTENT_ZERO);
	g_assert_cmpuint(map_text_size(disk_view_map_text(rig->view,
		MAP_FORMAT_MAPFILE)), >, 0);
	g_assert_true(disk_view_map_text(rig->view, MAP_FORMAT_MAPFILE) !=
		disk_view_map_text(rig->view, MAP_FORMAT_JSON));
	g_assert_cmpuint(rig_stats(rig).scratch, >=, SCRATCH_USED);
	g_assert_cmpuint(rig_stats(rig).scratch, <, DISK_SIZE);
}

/* --- failing --- */

static void test_broken_snapshot(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest reads[4];

	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++) {
		rig_hold(rig, i);
		rig_start_read(rig, &reads[i], i, 10);
	}
	rig_put(rig, "error", "EINVAL");
	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++)
		rig_let_go(rig, i);
	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++)
		rig_finish_read(rig, &reads[i], ESTALE);
	rig_assert_failed(rig, ESTALE);
	rig_remove(rig, "error"); /* it stays broken */
	rig_read(rig, HOLE_START, 1, ESTALE);
	rig_read(rig, DISK_SIZE - 1, 1, ESTALE);
	rig_punch(rig, 0, CLUSTER, ESTALE);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 6);
	rig_assert_failed(rig, ESTALE);
}

/* A bad sector of the guest's disk is the matter of that sector. */
static void test_other_errors(DiskRig *rig, gconstpointer unused)
{
	rig_put(rig, "error", "EIO");
	rig_read(rig, 0, 1, EIO);
	rig_put(rig, "error", "ENOMEM");
	rig_read(rig, 0, 1, EIO);
	rig_remove(rig, "error");
	rig_read(rig, 0, 1, 0);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 2);
	rig_assert_failed(rig, 0);
}

static void wait_until_failed(DiskRig *rig)
{
	int64_t end = g_get_monotonic_time() + NBD_FIXTURE_PATIENCE;

	while (g_atomic_int_get(&rig->failed) == 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
}

static void test_lost(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest read;

	rig_hold(rig, 0);
	rig_start_read(rig, &read, 0, 10);
	rig_wait_for_log(rig, "read 0 10; ");
	nbd_fixture_kill_server(&rig->nbd);
	rig_finish_read(rig, &read, EIO);
	wait_until_failed(rig);
	rig_assert_failed(rig, EIO);
	rig_read(rig, 5, 1, EIO);
	rig_read(rig, HOLE_START, 1, EIO);
	rig_punch(rig, 0, CLUSTER, EIO);
}

/* Who comes late is told as well. */
static void test_told_late(DiskRig *rig, gconstpointer unused)
{
	disk_view_set_failed(rig->view, NULL, NULL);
	rig_put(rig, "error", "EINVAL");
	rig_read(rig, 0, 1, ESTALE);
	rig_assert_failed(rig, 0);
	disk_view_set_failed(rig->view, rig_failed, rig);
	rig_assert_failed(rig, ESTALE);
}

/* Made to fail from outside: nobody is told, and the first one counts. */
static void test_fail(DiskRig *rig, gconstpointer unused)
{
	disk_view_fail(rig->view, ESTALE);
	disk_view_fail(rig->view, EIO);
	rig_read(rig, 0, 1, ESTALE);
	rig_read(rig, HOLE_START, 1, ESTALE);
	nbd_fixture_kill_server(&rig->nbd);
	rig_read(rig, 0, 1, ESTALE);
	rig_assert_log(rig, "");
	rig_assert_failed(rig, 0);
}

/* --- closing --- */

static void test_close_ends_all(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest reads[4], punch;

	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++) {
		rig_hold(rig, i);
		rig_start_read(rig, &reads[i], i, 10);
	}
	rig_wait_for_log(rig, "read 3 10; ");
	rig_start_punch(rig, &punch, 0, CLUSTER);
	disk_view_close(rig->view);
	/* close has waited for them */
	g_assert_cmpuint(rig->batch.pending, ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++)
		rig_finish_read(rig, &reads[i], ESTALE);
	g_assert_cmpuint(punch.calls, ==, 1);
	g_assert_cmpint(punch.error, ==, ESTALE);
	rig_read(rig, 0, 1, ESTALE);
	rig_punch(rig, 0, CLUSTER, ESTALE);
	g_assert_cmpuint(rig_stats(rig).scratch, ==, 0);
	disk_view_close(rig->view);
	rig_assert_failed(rig, 0);
}

/* A trim under way is over by then, too. */
static void test_close_with_trims(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest punches[16];

	for (unsigned i = 0; i < G_N_ELEMENTS(punches); i++)
		rig_start_punch(rig, &punches[i], i * CLUSTER, CLUSTER);
	disk_view_close(rig->view);
	g_assert_cmpuint(rig->batch.pending, ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(punches); i++) {
		g_assert_cmpuint(punches[i].calls, ==, 1);
		if (punches[i].error)
			g_assert_cmpint(punches[i].error, ==, ESTALE);
	}
}

static gpointer read_until_closed(gpointer data)
{
	DiskRig *rig = data;
	NbdBatchRequest request;
	int error;

	do {
		rig_start_read(rig, &request,
			g_random_int_range(0, HOLE_START), 1);
		nbd_batch_wait(&rig->batch);
		error = request.error;
		g_free(request.buffer);
	} while (!error);
	return GINT_TO_POINTER(error);
}

/* From another thread than the one that closes. */
static void test_close_under_a_reader(DiskRig *rig, gconstpointer unused)
{
	GThread *reader = g_thread_new("reader", read_until_closed, rig);

	rig_wait_for_log(rig, "sent ");
	disk_view_close(rig->view);
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(reader)), ==, ESTALE);
}

static void add(const char *path, void (*test)(DiskRig *, gconstpointer))
{
	g_test_add(path, DiskRig, NULL, rig_set_up, test, rig_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/disk-view/read", test_read);
	add("/disk-view/hole", test_hole);
	add("/disk-view/what-it-is", test_what_it_is);
	add("/disk-view/fail/broken", test_broken_snapshot);
	add("/disk-view/fail/other", test_other_errors);
	add("/disk-view/fail/lost", test_lost);
	add("/disk-view/fail/told-late", test_told_late);
	add("/disk-view/fail/from-outside", test_fail);
	add("/disk-view/close/reads", test_close_ends_all);
	add("/disk-view/close/trims", test_close_with_trims);
	add("/disk-view/close/reader", test_close_under_a_reader);
	return g_test_run();
}
