/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DiskView: what is freed, to the byte, and the order of reads and trims. */
#include "disk-rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_byte_exact(DiskRig *rig, gconstpointer unused)
{
	rig_punch(rig, 10000, 10000, 0);
	rig_read(rig, 9999, 1, 0);
	rig_read(rig, 10000, 1, ENODATA);
	rig_read(rig, 19999, 1, ENODATA);
	rig_read(rig, 20000, 1, 0);
	rig_read(rig, 9999, 2, ENODATA);
	rig_read(rig, 19999, 2, ENODATA);
	rig_read(rig, 0, 30000, ENODATA);
	rig_punch(rig, HOLE_START + 5, 1, 0);
	rig_read_zeros(rig, HOLE_START, 5);
	rig_read(rig, HOLE_START + 5, 1, ENODATA);
	g_assert_cmpuint(rig_stats(rig).freed, ==, 10001);
	/* refused to the reader, but nothing failed */
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
	rig_assert_log(rig, "read 9999 1; sent 9999 1; "
		"read 20000 1; sent 20000 1; ");
	rig_assert_failed(rig, 0);
}

static void test_small_ones_add_up(DiskRig *rig, gconstpointer unused)
{
	static const char three[] =
		"trim 0 65536; trim 65536 65536; trim 131072 65536; ";

	for (unsigned i = 0; i < 6; i++)
		rig_punch(rig, i * 10 * KIB, 10 * KIB, 0);
	rig_assert_log(rig, "");
	for (unsigned i = 6; i < 19; i++)
		rig_punch(rig, i * 10 * KIB, 10 * KIB, 0);
	rig_assert_log(rig, "trim 0 65536; trim 65536 65536; ");
	rig_punch(rig, 190 * KIB, 2 * KIB, 0);
	rig_assert_log(rig, three);
	/* what is free already is not freed again */
	rig_punch(rig, 0, 192 * KIB, 0);
	rig_assert_log(rig, three);
	g_assert_cmpuint(rig_stats(rig).freed, ==, 192 * KIB);
}

static void shuffle(unsigned *numbers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		numbers[i] = i;
	for (unsigned i = count - 1; i > 0; i--) {
		unsigned j = g_test_rand_int_range(0, i + 1);
		unsigned kept = numbers[i];

		numbers[i] = numbers[j];
		numbers[j] = kept;
	}
}

/* A bit for each cluster that was trimmed; what was trimmed twice shows. */
static unsigned trimmed_clusters(const DiskRig *rig)
{
	g_autofree char *log = rig_log(rig);
	unsigned offset, length, bits = 0;

	for (const char *at = log; (at = strstr(at, "trim ")); at++) {
		g_assert_cmpint(sscanf(at, "trim %u %u;", &offset, &length),
			==, 2);
		for (; length; offset += CLUSTER, length -= CLUSTER)
			bits += 1u << offset / CLUSTER;
	}
	return bits;
}

/* Whatever the order, each cluster is trimmed once. */
static void test_any_order(DiskRig *rig, gconstpointer unused)
{
	enum { STEP = 20 * KIB, COUNT = (DISK_SIZE + STEP - 1) / STEP };
	unsigned order[COUNT];

	shuffle(order, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		rig_punch(rig, order[i] * STEP, STEP, 0);
	g_assert_cmpuint(trimmed_clusters(rig), ==,
		(1u << DISK_SIZE / CLUSTER) - 1);
	g_assert_cmpuint(rig_stats(rig).freed, ==, DISK_SIZE);
}

static void test_cut_to_the_disk(DiskRig *rig, gconstpointer unused)
{
	rig_punch(rig, DISK_SIZE, 1, 0);
	rig_punch(rig, G_MAXINT64, G_MAXINT64, 0);
	g_assert_cmpuint(rig_stats(rig).freed, ==, 0);
	rig_punch(rig, DISK_SIZE - 100, G_MAXINT64, 0);
	g_assert_cmpuint(rig_stats(rig).freed, ==, 100);
	rig_punch(rig, DISK_SIZE - CLUSTER - 5, G_MAXINT64, 0);
	rig_assert_log(rig, "trim 983040 65536; ");
}

/* The other reads give a trim that does not wait the time to get there. */
static void test_trim_waits_for_the_read(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest read, punch, other[8];
	g_autofree char *log = NULL;

	rig_hold(rig, 70000);
	rig_start_read(rig, &read, 70000, 60000);
	rig_wait_for_log(rig, "read 70000 60000; ");
	rig_start_punch(rig, &punch, 0, 4 * CLUSTER);
	for (unsigned i = 0; i < G_N_ELEMENTS(other); i++) {
		rig_start_read(rig, &other[i], HOLE_END + i, 1);
		nbd_batch_wait_for_some(&rig->batch, i + 1);
	}
	g_assert_cmpuint(rig_calls(rig, &read), ==, 0);
	g_assert_cmpuint(rig_calls(rig, &punch), ==, 0);
	rig_let_go(rig, 70000);
	rig_finish_read(rig, &read, 0);
	g_assert_cmpuint(punch.calls, ==, 1);
	g_assert_cmpint(punch.error, ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(other); i++)
		rig_finish_read(rig, &other[i], 0);
	log = rig_log(rig);
	g_assert_nonnull(strstr(log, "sent 70000 60000; trim 0 262144; "));
	rig_read(rig, 70000, 1, ENODATA);
}

/* A read elsewhere keeps no trim waiting, nor one next to it. */
static void test_trim_passes_other_reads(DiskRig *rig, gconstpointer unused)
{
	NbdBatchRequest before, behind, punch;

	rig_hold(rig, CLUSTER - 1);
	rig_hold(rig, 2 * CLUSTER);
	rig_start_read(rig, &before, CLUSTER - 1, 1);
	rig_wait_for_log(rig, "read 65535 1; ");
	rig_start_read(rig, &behind, 2 * CLUSTER, 1);
	rig_wait_for_log(rig, "read 131072 1; ");
	rig_start_punch(rig, &punch, CLUSTER, CLUSTER);
	nbd_batch_wait_for_some(&rig->batch, 1);
	g_assert_cmpuint(rig_calls(rig, &punch), ==, 1);
	rig_assert_log(rig, "read 65535 1; read 131072 1; trim 65536 65536; ");
	rig_let_go(rig, CLUSTER - 1);
	rig_let_go(rig, 2 * CLUSTER);
	rig_finish_read(rig, &before, 0);
	rig_finish_read(rig, &behind, 0);
	g_assert_cmpint(punch.error, ==, 0);
}

/* The server's refusal of what was freed meanwhile is no break. */
static void test_refused_read_of_a_freed_range(DiskRig *rig,
	gconstpointer unused)
{
	NbdBatchRequest read, punch;

	rig_hold(rig, 0);
	rig_start_read(rig, &read, 0, 100);
	rig_wait_for_log(rig, "read 0 100; ");
	rig_start_punch(rig, &punch, 99, 1);
	rig_put(rig, "error", "EINVAL");
	rig_let_go(rig, 0);
	rig_finish_read(rig, &read, ENODATA);
	g_assert_cmpint(punch.error, ==, 0);
	rig_assert_failed(rig, 0);
	rig_remove(rig, "error");
	rig_read(rig, 0, 99, 0);
}

/* The reader's part is done all the same, and the scratch's with a later
 * punch, whatever that frees. */
static void test_failed_trim_is_tried_again(DiskRig *rig,
	gconstpointer unused)
{
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	rig_put(rig, "trim-error", "EIO");
	rig_punch(rig, 0, 2 * CLUSTER, EIO);
	rig_read(rig, 0, 1, ENODATA);
	rig_punch(rig, 4 * CLUSTER, CLUSTER, EIO);
	rig_punch(rig, 4 * CLUSTER, CLUSTER, EIO);
	rig_remove(rig, "trim-error");
	rig_remove(rig, "log");
	rig_punch(rig, 100, 1, 0);
	g_assert_cmpuint(trimmed_clusters(rig), ==, 0x13);
	rig_remove(rig, "log");
	rig_punch(rig, 0, 2 * CLUSTER, 0);
	rig_assert_log(rig, "");
	rig_assert_failed(rig, 0);
}

/* A disk that nobody writes to has no scratch: nothing is trimmed. */
static void test_no_scratch(DiskRig *rig, gconstpointer unused)
{
	rig_punch(rig, 0, 4 * CLUSTER, 0);
	rig_read(rig, 0, 1, ENODATA);
	rig_read(rig, HOLE_END, 1, 0);
	rig_assert_log(rig, "read 655360 1; sent 655360 1; ");
	g_assert_cmpuint(rig_stats(rig).scratch, ==, 0);
	g_assert_cmpuint(rig_stats(rig).freed, ==, 4 * CLUSTER);
}

static void add(const char *path, void (*test)(DiskRig *, gconstpointer))
{
	g_test_add(path, DiskRig, NULL, rig_set_up, test, rig_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/disk-punch/byte-exact", test_byte_exact);
	add("/disk-punch/add-up", test_small_ones_add_up);
	add("/disk-punch/any-order", test_any_order);
	add("/disk-punch/cut", test_cut_to_the_disk);
	add("/disk-punch/waits", test_trim_waits_for_the_read);
	add("/disk-punch/passes", test_trim_passes_other_reads);
	add("/disk-punch/refused", test_refused_read_of_a_freed_range);
	add("/disk-punch/again", test_failed_trim_is_tried_again);
	g_test_add("/disk-punch/no-scratch", DiskRig, NULL,
		rig_set_up_read_only, test_no_scratch, rig_tear_down);
	return g_test_run();
}
