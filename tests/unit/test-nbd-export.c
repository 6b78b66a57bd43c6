/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NbdExport against real servers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fleece-error.h"
#include "nbd-fixture.h"

/* --- reads --- */

/* nbdkit's pattern plugin: each eight bytes are their offset, big-endian. */
static unsigned char pattern_at(uint64_t offset)
{
	return (offset & ~UINT64_C(7)) >> (8 * (7 - (offset & 7)));
}

static void check_pattern(const NbdBatchRequest *request)
{
	g_assert_cmpint(request->error, ==, 0);
	g_assert_cmpuint(request->calls, ==, 1);
	for (size_t i = 0; i < request->length; i++) {
		if (request->buffer[i] != pattern_at(request->offset + i))
			g_error("wrong byte at %" G_GUINT64_FORMAT,
				request->offset + i);
	}
}

static void test_reads(NbdFixture *f, gconstpointer data)
{
	enum { COUNT = 300, SIZE = 64 * MIB };
	g_autofree NbdBatchRequest *requests = g_new0(NbdBatchRequest, COUNT);
	NbdBatch batch;

	nbd_fixture_serve(f, "nbdkit -f -U $socket pattern size=64M");
	nbd_fixture_open(f, SIZE, GPOINTER_TO_UINT(data));
	nbd_batch_init(&batch);
	for (unsigned i = 0; i < COUNT; i++) {
		size_t length = g_test_rand_int_range(1, 256 * 1024);

		nbd_batch_read(f->export, &batch, &requests[i],
			g_test_rand_int_range(0, SIZE - length + 1), length);
	}
	nbd_batch_wait(&batch);
	for (unsigned i = 0; i < COUNT; i++) {
		check_pattern(&requests[i]);
		g_free(requests[i].buffer);
	}
	nbd_batch_clear(&batch);
	g_assert_cmpint(nbd_fixture_read(f->export, SIZE - 1, 2), ==, EINVAL);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 32 * MIB), ==, 0);
	g_assert_cmpint(g_atomic_int_get(&f->lost), ==, 0);
}

/* No request of the server's reaches over a multiple of 64 KiB. */
static void check_pieces(NbdFixture *f)
{
	g_autofree char *path = g_build_filename(f->dir, "log", NULL);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	lines = g_strsplit(g_strchomp(text), "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		char *end;
		guint64 length = g_ascii_strtoull(lines[i], &end, 10);
		guint64 offset = g_ascii_strtoull(end, NULL, 10);

		g_assert_cmpuint(length, >, 0);
		g_assert_cmpuint(offset / 65536, ==,
			(offset + length - 1) / 65536);
	}
}

static void test_pieces(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	NbdExportConfig config = {.name = "",
		.size = MIB,
		.timeout_ms = 10000,
		.read_timeout_ms = 10000,
		.piece = 65536};

	nbd_fixture_serve_script(f,
		"pread) echo \"$3 $4\" >>\"$dir/log\"\n"
		"[ \"$4\" != 524288 ] || { echo EINVAL no >&2; exit 1; }\n"
		"head -c $3 /dev/zero;;\n");
	f->export = nbd_export_new(f->loop, &config);
	nbd_fixture_connect(f, NULL);
	nbd_fixture_connect(f, NULL);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 65536), ==, 0);
	g_assert_cmpint(nbd_fixture_read(f->export, 65535, 2), ==, 0);
	g_assert_cmpint(nbd_fixture_read(f->export, 4096, 300000), ==, 0);
	g_assert_cmpint(nbd_fixture_read(f->export, 131072, 262144), ==, 0);
	/* the error of one piece is the error of all */
	g_assert_cmpint(nbd_fixture_read(f->export, 300000, 500000), ==,
		EINVAL);
	check_pieces(f);
}

typedef struct {
	NbdExport *export;
	NbdBatch batch;
	NbdBatchRequest request;
	unsigned left;
	unsigned char byte;
} Chain;

static void on_chain_done(void *opaque, int error)
{
	Chain *chain = opaque;

	g_assert_cmpint(error, ==, 0);
	if (chain->left-- > 0)
		nbd_export_read_async(chain->export, &chain->byte, 1,
			chain->left, on_chain_done, chain);
	else
		nbd_batch_done(&chain->request, error);
}

static void test_completion_starts_request(
	NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	Chain chain = {.left = 1000};

	nbd_fixture_serve(f, "nbdkit -f -U $socket pattern size=1M");
	nbd_fixture_open(f, MIB, 1);
	nbd_batch_init(&chain.batch);
	chain.batch.pending = 1;
	chain.export = f->export;
	chain.request.batch = &chain.batch;
	nbd_export_read_async(
		f->export, &chain.byte, 1, 0, on_chain_done, &chain);
	nbd_batch_wait(&chain.batch);
	nbd_batch_clear(&chain.batch);
	g_assert_cmpuint(chain.request.calls, ==, 1);
}

/* --- errors of the server, trims, limits --- */

static void test_errnos_pass(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	nbd_fixture_serve_script(f,
		"pread) case $4 in\n"
		"65536) echo EIO broken >&2; exit 1;;\n"
		"131072) echo EINVAL trimmed >&2; exit 1;;\n"
		"196608) echo ENOSPC full >&2; exit 1;;\n"
		"*) head -c $3 /dev/zero;;\n"
		"esac;;\n");
	nbd_fixture_open(f, MIB, 1);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 4096), ==, 0);
	g_assert_cmpint(nbd_fixture_read(f->export, 65536, 4096), ==, EIO);
	g_assert_cmpint(nbd_fixture_read(f->export, 131072, 4096), ==, EINVAL);
	g_assert_cmpint(nbd_fixture_read(f->export, 196608, 4096), ==, ENOSPC);
	g_assert_cmpint(nbd_fixture_read(f->export, 4096, 4096), ==, 0);
	g_assert_false(nbd_export_is_lost(f->export));
	g_assert_false(nbd_export_can_trim(f->export));
	g_assert_cmpint(nbd_fixture_trim(f->export, 0, 4096), !=, 0);
}

static char *read_log(NbdFixture *f)
{
	g_autofree char *path = g_build_filename(f->dir, "log", NULL);
	char *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static void test_trim(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autofree char *text = NULL;

	nbd_fixture_serve_script(f, "can_write|can_trim) exit 0;;\n"
				    "pread) head -c $3 /dev/zero;;\n"
				    "trim) echo \"$3 $4\" >>\"$dir/log\";;\n");
	nbd_fixture_new_export(f, MIB, 10000, 0);
	g_assert_false(nbd_export_can_trim(f->export));
	nbd_fixture_connect(f, NULL);
	g_assert_true(nbd_export_can_trim(f->export));
	g_assert_cmpint(nbd_fixture_trim(f->export, 65536, 131072), ==, 0);
	text = read_log(f);
	g_assert_cmpstr(text, ==, "131072 65536\n");
}

/* How many reads of 4 KiB the server saw at once at most, over two
 * connections. */
static unsigned most_at_once(NbdFixture *f, unsigned max_in_flight)
{
	NbdBatchRequest requests[12] = {0};
	NbdBatch batch;
	unsigned most = 0;
	g_autofree char *log = g_build_filename(f->dir, "log", NULL);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	nbd_fixture_new_export(f, MIB, 10000, max_in_flight);
	nbd_fixture_connect(f, NULL);
	nbd_fixture_connect(f, NULL);
	nbd_batch_init(&batch);
	for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++)
		nbd_batch_read(f->export, &batch, &requests[i], i * 4096, 4096);
	nbd_batch_wait(&batch);
	nbd_batch_clear(&batch);
	for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
		g_assert_cmpint(requests[i].error, ==, 0);
		g_free(requests[i].buffer);
	}
	text = read_log(f);
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++)
		most = MAX(most, (unsigned)atoi(lines[i]));
	g_unlink(log);
	g_clear_pointer(&f->export, nbd_export_free);
	return most;
}

static void test_max_in_flight(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	nbd_fixture_serve_script(f, "pread) : >\"$dir/running.$4\"\n"
				    "set -- \"$3\" \"$4\" \"$dir\"/running.*\n"
				    "echo $(($# - 2)) >>\"$dir/log\"\n"
				    "sleep 0.05\n"
				    "rm \"$dir/running.$2\"\n"
				    "head -c $1 /dev/zero;;\n");
	g_assert_cmpuint(most_at_once(f, 1), ==, 1);
	g_assert_cmpuint(most_at_once(f, 3), <=, 3);
	g_assert_cmpuint(most_at_once(f, 0), >, 4);
	f->room = 20000; /* two replies of 8 KiB */
	g_assert_cmpuint(most_at_once(f, 0), <=, 4);
	f->room = 1; /* none: one by one all the same */
	g_assert_cmpuint(most_at_once(f, 0), <=, 2);
}

/* --- the end of an export --- */

/* What became of requests that an export's end cut off. */
static void check_all_ended_with_eio(NbdBatchRequest *requests, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		g_assert_cmpuint(requests[i].calls, ==, 1);
		g_assert_cmpint(requests[i].error, ==, EIO);
		g_free(requests[i].buffer);
	}
}

static void test_server_killed(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	enum { COUNT = 200 };
	g_autofree NbdBatchRequest *requests = g_new0(NbdBatchRequest, COUNT);
	NbdBatch batch;

	nbd_fixture_serve(f, "nbdkit -f -U $socket --filter=delay memory 1M "
			     "rdelay=60");
	nbd_fixture_open(f, MIB, 2);
	nbd_batch_init(&batch);
	for (unsigned i = 0; i < COUNT; i++)
		nbd_batch_read(f->export, &batch, &requests[i], i * 4096, 4096);
	nbd_fixture_kill_server(f);
	nbd_batch_wait(&batch);
	check_all_ended_with_eio(requests, COUNT);
	nbd_batch_clear(&batch);
	nbd_fixture_wait_until_lost(f);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, EIO);
	g_assert_cmpint(nbd_fixture_trim(f->export, 0, 512), ==, EIO);
	g_assert_cmpint(g_atomic_int_get(&f->lost), ==, 1);
}

static void test_idle_server_killed(
	NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GError) error = NULL;

	nbd_fixture_serve(f, "nbdkit -f -U $socket memory 1M");
	nbd_fixture_open(f, MIB, 2);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, 0);
	nbd_fixture_kill_server(f);
	nbd_fixture_wait_until_lost(f);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, EIO);
	g_assert_false(nbd_export_connect_take(f->export, -1, NULL, &error));
	g_assert_error(error, FLEECE_ERROR, EIO);
}

static void test_no_answer(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	int64_t start;

	nbd_fixture_serve(f, "nbdkit -f -U $socket --filter=delay memory 1M "
			     "rdelay=60");
	nbd_fixture_new_export(f, MIB, 200, 0);
	nbd_fixture_connect(f, NULL);
	start = g_get_monotonic_time();
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, EIO);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 200000);
	nbd_fixture_wait_until_lost(f);
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, EIO);
	g_assert_cmpint(g_atomic_int_get(&f->lost), ==, 1);
}

/* The deadline of a read that the sleeping loop was not woken up for: in a
 * row of reads that are answered, and after a while of which there is none. */
static void test_no_answer_any_more(
	NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	enum { TIMEOUT_MS = 500 };
	int64_t start = g_get_monotonic_time();

	nbd_fixture_serve_script(f,
		"pread) [ $4 -lt 65536 ] || exec sleep 60\n"
		"head -c $3 /dev/zero;;\n");
	nbd_fixture_new_export(f, MIB, TIMEOUT_MS, 0);
	nbd_fixture_connect(f, NULL);
	do {
		g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, 0);
	} while (g_get_monotonic_time() - start < 3000 * TIMEOUT_MS);
	g_assert_false(nbd_export_is_lost(f->export));
	g_assert_cmpint(nbd_fixture_read(f->export, 65536, 512), ==, EIO);
	nbd_fixture_wait_until_lost(f);
}

static void test_free_in_flight(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	enum { COUNT = 100 };
	g_autofree NbdBatchRequest *requests = g_new0(NbdBatchRequest, COUNT);
	NbdBatch batch;

	nbd_fixture_serve(f, "nbdkit -f -U $socket --filter=delay memory 1M "
			     "rdelay=60");
	nbd_fixture_open(f, MIB, 2);
	nbd_batch_init(&batch);
	for (unsigned i = 0; i < COUNT; i++)
		nbd_batch_read(f->export, &batch, &requests[i], i * 4096, 4096);
	g_clear_pointer(&f->export, nbd_export_free);
	g_assert_cmpuint(batch.done, ==, COUNT);
	check_all_ended_with_eio(requests, COUNT);
	nbd_batch_clear(&batch);
	g_assert_cmpint(g_atomic_int_get(&f->lost), ==, 0);
}

/* Some of the requests end well meanwhile: none of them may end twice. */
static void test_free_while_reading(
	NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	enum { COUNT = 400, LENGTH = 65536 };
	g_autofree NbdBatchRequest *requests = g_new0(NbdBatchRequest, COUNT);
	NbdBatch batch;

	nbd_fixture_serve(f, "nbdkit -f -U $socket pattern size=64M");
	nbd_fixture_open(f, 64 * MIB, 4);
	nbd_batch_init(&batch);
	for (unsigned i = 0; i < COUNT; i++)
		nbd_batch_read(
			f->export, &batch, &requests[i], i * LENGTH, LENGTH);
	nbd_batch_wait_for_some(&batch, 10);
	g_clear_pointer(&f->export, nbd_export_free);
	g_assert_cmpuint(batch.done, ==, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		g_assert_cmpuint(requests[i].calls, ==, 1);
		if (requests[i].error)
			g_assert_cmpint(requests[i].error, ==, EIO);
		else
			check_pattern(&requests[i]);
		g_free(requests[i].buffer);
	}
	nbd_batch_clear(&batch);
}

typedef struct {
	NbdFixture *f;
	NbdBatch batch;
	NbdBatchRequest requests[3];
	unsigned char byte;
	unsigned reads; /* that are started at once */
} Cut;

/* In the loop's thread, between two looks at the queue. */
static void on_cut(void *opaque, int error)
{
	Cut *cut = opaque;

	g_assert_cmpint(error, ==, 0);
	nbd_fixture_kill_server(cut->f);
	for (unsigned i = 1; i <= cut->reads; i++)
		nbd_batch_read(cut->f->export, &cut->batch, &cut->requests[i],
			i * 4096, 512);
	nbd_batch_done(&cut->requests[0], error);
}

/* The first of them finds out, the second is not sent: both end. */
static void test_cut_while_others_wait(NbdFixture *f, gconstpointer data)
{
	Cut cut = { .f = f, .reads = GPOINTER_TO_UINT(data) };

	nbd_fixture_serve(f, "nbdkit -f -U $socket memory 1M");
	nbd_fixture_new_export(f, MIB, 60000, 0);
	nbd_fixture_connect(f, NULL);
	nbd_batch_init(&cut.batch);
	cut.batch.pending = 1;
	cut.requests[0].batch = &cut.batch;
	nbd_export_read_async(f->export, &cut.byte, 1, 0, on_cut, &cut);
	nbd_batch_wait(&cut.batch);
	nbd_batch_clear(&cut.batch);
	check_all_ended_with_eio(cut.requests + 1, cut.reads);
}

static unsigned count_fds(void)
{
	g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	return count;
}

static void test_fds(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	unsigned before;

	nbd_fixture_serve(f, "nbdkit -f -U $socket memory 1M");
	before = count_fds();
	for (unsigned i = 0; i < 200; i++) {
		nbd_fixture_open(f, MIB, 1 + i % 2);
		g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, 0);
		g_clear_pointer(&f->export, nbd_export_free);
	}
	g_assert_cmpuint(count_fds(), ==, before);
}

/* --- what the server says of itself --- */

static void test_size_mismatch(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GError) error = NULL;

	nbd_fixture_serve(f, "nbdkit -f -U $socket memory 1M");
	nbd_fixture_new_export(f, 2 * MIB, 1000, 0);
	g_assert_false(nbd_export_connect_take(
		f->export, nbd_fixture_socket(f), NULL, &error));
	g_assert_nonnull(error);
	g_assert_nonnull(strstr(error->message, "1048576"));
	g_assert_nonnull(strstr(error->message, "2097152"));
	g_assert_cmpint(nbd_fixture_read(f->export, 0, 512), ==, ENOTCONN);
}

static void test_no_context(NbdFixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GError) error = NULL;

	nbd_fixture_serve(f, "nbdkit -f -U $socket memory 1M");
	nbd_fixture_open(f, MIB, 1);
	g_assert_null(nbd_export_read_allocation(f->export, NULL,
		&error));
	g_assert_error(error, FLEECE_ERROR, ENOTSUP);
	g_clear_error(&error);
	g_assert_false(nbd_export_connect_take(f->export, nbd_fixture_socket(f),
		"qemu:dirty-bitmap:x", &error));
	g_assert_error(error, FLEECE_ERROR, ENOTSUP);
	g_assert_nonnull(strstr(error->message, "qemu:dirty-bitmap:x"));
}

static void add(const char *name, gconstpointer data,
	void (*test)(NbdFixture *f, gconstpointer data))
{
	g_autofree char *path = g_strconcat("/nbd-export/", name, NULL);

	g_test_add(path, NbdFixture, data, nbd_fixture_set_up, test,
		nbd_fixture_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("reads/1", GUINT_TO_POINTER(1), test_reads);
	add("reads/2", GUINT_TO_POINTER(2), test_reads);
	add("reads/4", GUINT_TO_POINTER(4), test_reads);
	add("pieces", NULL, test_pieces);
	add("completion-starts-request", NULL, test_completion_starts_request);
	add("errnos-pass", NULL, test_errnos_pass);
	add("trim", NULL, test_trim);
	add("max-in-flight", NULL, test_max_in_flight);
	add("server-killed", NULL, test_server_killed);
	add("idle-server-killed", NULL, test_idle_server_killed);
	add("no-answer", NULL, test_no_answer);
	add("no-answer-any-more", NULL, test_no_answer_any_more);
	add("cut-while-others-wait/1", GUINT_TO_POINTER(1),
		test_cut_while_others_wait);
	add("cut-while-others-wait/2", GUINT_TO_POINTER(2),
		test_cut_while_others_wait);
	add("free-in-flight", NULL, test_free_in_flight);
	add("free-while-reading", NULL, test_free_while_reading);
	add("fds", NULL, test_fds);
	add("size-mismatch", NULL, test_size_mismatch);
	add("no-context", NULL, test_no_context);
	return g_test_run();
}
