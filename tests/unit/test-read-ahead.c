/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ReadAhead over a real server: what it asks for, and what it never gives. */
#include "read-ahead.h"

#include <errno.h>
#include <string.h>

#include "disk-rig.h"
#include "disk-view-read.h"

#define BUFFER READ_AHEAD_BUFFER
/* Of the disk: four buffers, the third one begins with a hole. */
#define THIRD "read 524288 262144"
#define LAST "read 786432 262144"

/* --- reading --- */

/* The bytes are gone once this returns: they are looked at here. */
static void read_done(void *opaque, int error, const struct iovec *parts,
	unsigned count)
{
	NbdBatchRequest *request = opaque;
	uint64_t at = request->offset;

	for (unsigned i = 0; !error && i < count; i++) {
		const unsigned char *bytes = parts[i].iov_base;

		for (size_t j = 0; j < parts[i].iov_len; j++, at++) {
			if (bytes[j] != rig_byte(at))
				g_error("wrong byte at %" G_GUINT64_FORMAT, at);
		}
	}
	if (!error)
		g_assert_cmpuint(at, ==, request->offset + request->length);
	nbd_batch_done(request, error);
}

static void start(DiskRig *rig, ReadAhead *ahead, NbdBatchRequest *request,
	uint64_t offset, size_t length)
{
	rig_begin(rig, request, offset, length);
	read_ahead_read(ahead, length, offset, read_done, request);
}

static int read_at(DiskRig *rig, ReadAhead *ahead, uint64_t offset,
	size_t length)
{
	NbdBatchRequest request;

	start(rig, ahead, &request, offset, length);
	nbd_batch_wait(&rig->batch);
	g_assert_cmpuint(request.calls, ==, 1);
	return request.error;
}

static void reads_well(DiskRig *rig, ReadAhead *ahead, uint64_t offset,
	size_t length)
{
	g_assert_cmpint(read_at(rig, ahead, offset, length), ==, 0);
}

/* How often words stand in the server's log. */
static unsigned asked(DiskRig *rig, const char *words)
{
	g_autofree char *log = rig_log(rig);
	unsigned count = 0;

	for (const char *at = log; (at = strstr(at, words)); at++)
		count++;
	return count;
}

static bool comes_before(DiskRig *rig, const char *first, const char *second)
{
	g_autofree char *log = rig_log(rig);
	const char *at = strstr(log, first);

	return at && strstr(at, second) && strstr(log, second) > at;
}

/* --- what it asks for --- */

static void test_stream(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	for (uint64_t at = 0; at < DISK_SIZE; at += CLUSTER) {
		if (at < HOLE_START || at >= HOLE_END)
			reads_well(rig, ahead, at, CLUSTER);
	}
	g_assert_cmpuint(asked(rig, "read "), ==, 4);
	g_assert_cmpuint(asked(rig, THIRD), ==, 1);
	g_assert_cmpuint(asked(rig, LAST), ==, 1);
	g_assert_cmpuint(rig_stats(rig).read, ==,
		DISK_SIZE - (HOLE_END - HOLE_START));
}

static void test_random(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	reads_well(rig, ahead, 0, 4096); /* small: somebody looks what it is */
	reads_well(rig, ahead, 700000, 4096);
	reads_well(rig, ahead, 300000, 4096);
	rig_assert_log(rig, "read 0 4096; sent 0 4096; "
		"read 700000 4096; sent 700000 4096; "
		"read 300000 4096; sent 300000 4096; ");
}

/* Small reads that go on are a stream, too, but not one to go far for. */
static void test_small(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	for (uint64_t at = 0; at < 10 * 4096; at += 4096)
		reads_well(rig, ahead, at, 4096);
	g_assert_cmpuint(asked(rig, "read 0 262144"), ==, 1);
	g_assert_cmpuint(asked(rig, THIRD), ==, 0);
}

/* Reads as long as the disk, over more buffers than one. */
static void test_large(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	reads_well(rig, ahead, 0, HOLE_START);
	reads_well(rig, ahead, 12345, HOLE_START - 12345);
	reads_well(rig, ahead, HOLE_END, DISK_SIZE - HOLE_END);
}

/* The kernel's threads may overtake each other. */
static void test_order(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);
	NbdBatchRequest requests[4];
	static const unsigned order[] = { 0, 2, 1, 3 };

	for (unsigned i = 0; i < 4; i++)
		start(rig, ahead, &requests[i], order[i] * 2 * CLUSTER,
			2 * CLUSTER);
	nbd_batch_wait(&rig->batch);
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpint(requests[i].error, ==, 0);
	g_assert_cmpuint(asked(rig, "read 0 262144"), ==, 1);
	g_assert_cmpuint(asked(rig, "read 262144 262144"), ==, 1);
}

/* A reader that jumps over a hole goes on in what was read ahead. */
static void test_jump(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	reads_well(rig, ahead, 0, HOLE_START);
	reads_well(rig, ahead, HOLE_END, CLUSTER);
	rig_wait_for_log(rig, LAST);
	g_assert_cmpuint(asked(rig, "read "), ==, 4);
}

static void test_memory(DiskRig *rig, gconstpointer unused)
{
	BufferPool *pool = disk_view_buffers(rig->view);
	ReadAhead *files[12];

	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		files[i] = read_ahead_new(rig->view, false);
		reads_well(rig, files[i], 0, CLUSTER);
		g_assert_cmpuint(buffer_pool_bytes(pool), >=, BUFFER);
		g_assert_cmpuint(buffer_pool_bytes(pool), <=, 8 * MIB);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++)
		read_ahead_close(files[i]);
	disk_view_close(rig->view);
	g_assert_cmpuint(buffer_pool_bytes(pool), ==, 0);
}

/* --- what it never gives --- */

/* Whatever lies in the buffers. */
static void test_punch(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	reads_well(rig, ahead, 0, CLUSTER);
	rig_wait_for_log(rig, "sent 262144 262144");
	rig_punch(rig, CLUSTER + 10, 1, 0);
	g_assert_cmpint(read_at(rig, ahead, CLUSTER, CLUSTER), ==, ENODATA);
	reads_well(rig, ahead, CLUSTER, 10);
	reads_well(rig, ahead, CLUSTER + 11, CLUSTER - 11);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
	rig_assert_failed(rig, 0);
}

/* A buffer over what was freed is of no use, but what is beside it is there. */
static void test_read_ahead_over_freed(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	rig_punch(rig, BUFFER + 100, CLUSTER, 0);
	reads_well(rig, ahead, 0, BUFFER);
	reads_well(rig, ahead, BUFFER, 100);
	g_assert_cmpint(read_at(rig, ahead, BUFFER + 100, 1), ==, ENODATA);
	reads_well(rig, ahead, BUFFER + 100 + CLUSTER, 4096);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
}

/* A trim waits for what is being read ahead, as for any read. */
static void test_trim_waits(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);
	NbdBatchRequest punch, read;

	rig_hold(rig, BUFFER);
	start(rig, ahead, &read, 0, CLUSTER);
	rig_wait_for_log(rig, "read 262144 262144");
	rig_start_punch(rig, &punch, BUFFER, CLUSTER);
	g_assert_cmpuint(rig_calls(rig, &punch), ==, 0);
	rig_let_go(rig, BUFFER);
	nbd_batch_wait(&rig->batch);
	g_assert_cmpint(punch.error, ==, 0);
	g_assert_true(comes_before(rig, "sent 262144 262144",
		"trim 262144 65536"));
	g_assert_cmpint(read_at(rig, ahead, BUFFER, 1), ==, ENODATA);
}

static void test_broken(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	reads_well(rig, ahead, 0, CLUSTER);
	rig_wait_for_log(rig, "sent 262144 262144");
	disk_view_fail(rig->view, ESTALE);
	g_assert_cmpint(read_at(rig, ahead, CLUSTER, CLUSTER), ==, ESTALE);
	g_assert_cmpint(read_at(rig, ahead, BUFFER, 1), ==, ESTALE);
}

/* Nobody has asked for it: nobody gets it, and it counts for nothing. */
static void test_error_ahead(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);

	rig_put(rig, "error-262144", "EIO bad sector");
	reads_well(rig, ahead, 0, BUFFER);
	rig_wait_for_log(rig, "read 262144 262144");
	reads_well(rig, ahead, BUFFER + 512, 512);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
	g_assert_cmpint(read_at(rig, ahead, BUFFER, 512), ==, EIO);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 1);
	rig_remove(rig, "error-262144");
	reads_well(rig, ahead, BUFFER, 512);
	rig_assert_failed(rig, 0);
}

/* One that waits for a buffer that fails has its own bytes read. */
static void test_error_while_waiting(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);
	NbdBatchRequest reads[2];

	rig_put(rig, "error-262144", "EIO bad sector");
	rig_hold(rig, BUFFER);
	start(rig, ahead, &reads[0], 0, BUFFER);
	start(rig, ahead, &reads[1], BUFFER + 512, CLUSTER);
	rig_wait_for_log(rig, "read 262144 262144");
	rig_let_go(rig, BUFFER);
	nbd_batch_wait(&rig->batch);
	g_assert_cmpint(reads[0].error, ==, 0);
	g_assert_cmpint(reads[1].error, ==, 0);
	g_assert_cmpuint(rig_stats(rig).failed_reads, ==, 0);
}

static void test_lost(DiskRig *rig, gconstpointer unused)
{
	g_autoptr(ReadAhead) ahead = read_ahead_new(rig->view, false);
	NbdBatchRequest read;

	rig_hold(rig, 0);
	start(rig, ahead, &read, 0, CLUSTER);
	rig_wait_for_log(rig, "read 0 262144");
	nbd_fixture_kill_server(&rig->nbd);
	nbd_batch_wait(&rig->batch);
	g_assert_cmpint(read.error, ==, EIO);
	rig_assert_failed(rig, EIO);
}

static void test_close_while_loading(DiskRig *rig, gconstpointer unused)
{
	ReadAhead *ahead = read_ahead_new(rig->view, false);

	rig_hold(rig, BUFFER);
	reads_well(rig, ahead, 0, CLUSTER);
	rig_wait_for_log(rig, "read 262144 262144");
	read_ahead_close(ahead);
	disk_view_close(rig->view);
	g_assert_cmpuint(buffer_pool_bytes(disk_view_buffers(rig->view)), ==,
		0);
}

/* --- all at once --- */

typedef struct {
	DiskRig *rig;
	ReadAhead *ahead;
	bool random;
} Racer;

static gpointer race(gpointer opaque)
{
	Racer *racer = opaque;
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	uint64_t at = 0;

	for (unsigned i = 0; i < 30; i++) {
		NbdBatch batch;
		NbdBatchRequest request = { .batch = &batch, .length = 8192 };

		nbd_batch_init(&batch);
		batch.pending = 1;
		if (racer->random)
			at = (uint64_t)g_rand_int_range(rand, 0, 60) * 8192;
		request.offset = at % HOLE_START;
		read_ahead_read(racer->ahead, 8192, request.offset, read_done,
			&request);
		nbd_batch_wait(&batch);
		nbd_batch_clear(&batch);
		g_assert_true(request.error == 0 || request.error == ENODATA);
		at += 8192;
	}
	return NULL;
}

/* Readers in a row and at random, in one file, while parts are freed. */
static void test_race(DiskRig *rig, gconstpointer unused)
{
	ReadAhead *ahead = read_ahead_new(rig->view, false);
	Racer racers[4];
	GThread *threads[G_N_ELEMENTS(racers)];

	for (unsigned i = 0; i < G_N_ELEMENTS(racers); i++) {
		racers[i] = (Racer){ rig, ahead, i % 2 };
		threads[i] = g_thread_new("racer", race, &racers[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		rig_punch(rig, i * CLUSTER + 30000, 5000, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(racers); i++)
		g_thread_join(threads[i]);
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmpint(read_at(rig, ahead, i * CLUSTER + 30000, 1),
			==, ENODATA);
	read_ahead_close(ahead);
}

static void add(const char *path, void (*test)(DiskRig *, gconstpointer))
{
	g_test_add(path, DiskRig, NULL, rig_set_up, test, rig_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/read-ahead/stream", test_stream);
	add("/read-ahead/random", test_random);
	add("/read-ahead/small", test_small);
	add("/read-ahead/large", test_large);
	add("/read-ahead/order", test_order);
	add("/read-ahead/jump", test_jump);
	add("/read-ahead/memory", test_memory);
	add("/read-ahead/punch", test_punch);
	add("/read-ahead/over-freed", test_read_ahead_over_freed);
	add("/read-ahead/trim-waits", test_trim_waits);
	add("/read-ahead/broken", test_broken);
	add("/read-ahead/error-ahead", test_error_ahead);
	add("/read-ahead/error-while-waiting", test_error_while_waiting);
	add("/read-ahead/lost", test_lost);
	add("/read-ahead/close-while-loading", test_close_while_loading);
	add("/read-ahead/race", test_race);
	return g_test_run();
}
