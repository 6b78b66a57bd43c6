/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NbdExport against a peer that breaks the protocol.  No real server does,
 * so the peer is a thread of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "autofd.h"
#include "extent-list.h"
#include "fleece-error.h"
#include "nbd-export.h"
#include "nbd-peer.h"

#define SIZE NBD_PEER_SIZE
#define LENGTH 4096
#define PATIENCE (20 * G_TIME_SPAN_SECOND)
#define PATIENT_MS 20000
#define SHORT_MS 300

/* --- reads --- */

static void read_well(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 1024, 0);
	nbd_peer_hole(fd, asked, 1024, 1024, 0);
	nbd_peer_data(fd, asked, 2048, 2048, 0);
	nbd_peer_chunk(fd, asked, NBD_CHUNK_NONE, NBD_CHUNK_DONE, 0);
}

static void read_nothing(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_NONE, NBD_CHUNK_DONE, 0);
}

static void read_short(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 2048, NBD_CHUNK_DONE);
}

static void read_with_gap(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 1024, 0);
	nbd_peer_data(fd, asked, 2048, 2048, NBD_CHUNK_DONE);
}

/* As many bytes as were asked for, and not all of them. */
static void read_twice_the_same(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 2048, 0);
	nbd_peer_data(fd, asked, 0, 2048, NBD_CHUNK_DONE);
}

static void read_too_much(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 2 * LENGTH, NBD_CHUNK_DONE);
}

static void read_elsewhere(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 2 * LENGTH, LENGTH, NBD_CHUNK_DONE);
}

static void read_cut_off(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_DATA, NBD_CHUNK_DONE, 8 + LENGTH);
	nbd_peer_send64(fd, 0);
	shutdown(fd, SHUT_RDWR);
}

static void read_stuck(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_DATA, NBD_CHUNK_DONE, 8 + LENGTH);
	nbd_peer_send64(fd, 0);
}

static void read_of_another(int fd, const NbdAsked *asked)
{
	NbdAsked other = *asked;

	other.cookie ^= 1;
	nbd_peer_data(fd, &other, 0, LENGTH, NBD_CHUNK_DONE);
}

static void read_error(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, LENGTH, 0);
	nbd_peer_chunk(fd, asked, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);
	nbd_peer_send32(fd, ENOSPC);
	nbd_peer_send16(fd, 0);
}

static void read_status(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 1, (uint32_t[]){LENGTH});
}

/* Data, and then a hole over it: zeros where there is data. */
static void read_hole_over_data(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, LENGTH, 0);
	nbd_peer_hole(fd, asked, 0, LENGTH, NBD_CHUNK_DONE);
}

static void read_hole_too_long(int fd, const NbdAsked *asked)
{
	nbd_peer_hole(fd, asked, 0, 2 * LENGTH, NBD_CHUNK_DONE);
}

static void read_hole_of_length_0(int fd, const NbdAsked *asked)
{
	nbd_peer_hole(fd, asked, 0, 0, NBD_CHUNK_DONE);
}

static void read_data_of_length_0(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, 0, NBD_CHUNK_DONE);
}

/* An offset whose sum with the length is small again. */
static void read_wrapping_offset(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, -UINT64_C(1024), LENGTH, NBD_CHUNK_DONE);
}

static void read_backwards(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 2048, 2048, 0);
	nbd_peer_data(fd, asked, 0, 2048, NBD_CHUNK_DONE);
}

/* A second answer where none is awaited. */
static void read_twice(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, LENGTH, NBD_CHUNK_DONE);
	nbd_peer_data(fd, asked, 0, LENGTH, NBD_CHUNK_DONE);
}

static void read_of_garbage_size(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_DATA, NBD_CHUNK_DONE, UINT32_MAX);
	nbd_peer_send64(fd, 0);
}

static void read_of_unknown_type(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, 77, NBD_CHUNK_DONE, 0);
}

static void read_error_0(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);
	nbd_peer_send32(fd, 0);
	nbd_peer_send16(fd, 0);
}

/* Its text is longer than its chunk. */
static void read_error_long_text(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);
	nbd_peer_send32(fd, ENOSPC);
	nbd_peer_send16(fd, 60000);
}

/* As from a server without structured replies. */
static void read_simple(int fd, const NbdAsked *asked)
{
	g_autofree char *data = g_malloc0(LENGTH);

	nbd_peer_send32(fd, 0x67446698);
	nbd_peer_send32(fd, 0);
	nbd_peer_send(fd, &asked->cookie, sizeof(asked->cookie));
	nbd_peer_send(fd, data, LENGTH);
}

static void read_half_a_head(int fd, const NbdAsked *asked G_GNUC_UNUSED)
{
	nbd_peer_send32(fd, 0x668e33ef);
	shutdown(fd, SHUT_RDWR);
}

static void read_hang_up(int fd, const NbdAsked *asked G_GNUC_UNUSED)
{
	shutdown(fd, SHUT_RDWR);
}

static const struct {
	const char *name;
	NbdPeerAnswer *answer;
	int error;
	bool lost;
	bool any_way; /* libnbd 1.14 gives the connection up, 1.22 goes on */
} reads[] = {
	{"well", read_well, 0, false},
	{"nothing", read_nothing, -1, false},
	{"short", read_short, -1, false},
	{"gap", read_with_gap, EPROTO, false},
	{"twice-the-same", read_twice_the_same, EPROTO, false},
	{"too-much", read_too_much, EIO, true},
	{"elsewhere", read_elsewhere, EIO, true},
	{"cut-off", read_cut_off, EIO, true},
	{"stuck", read_stuck, EIO, true},
	{"of-another", read_of_another, EIO, true},
	{"error", read_error, ENOSPC, false},
	{"status", read_status, EIO, .any_way = true},
	{"hole-over-data", read_hole_over_data, EPROTO, false},
	{"hole-too-long", read_hole_too_long, EIO, true},
	{"hole-of-length-0", read_hole_of_length_0, -1, false},
	{"data-of-length-0", read_data_of_length_0, -1, false},
	{"wrapping-offset", read_wrapping_offset, EIO, true},
	{"backwards", read_backwards, EPROTO, false},
	{"garbage-size", read_of_garbage_size, EIO, true},
	{"unknown-type", read_of_unknown_type, EIO, .any_way = true},
	{"error-0", read_error_0, -1, false},
	{"error-long-text", read_error_long_text, -1, .any_way = true},
	{"simple", read_simple, EIO, .any_way = true},
	{"half-a-head", read_half_a_head, EIO, true},
	{"hang-up", read_hang_up, EIO, true},
};

/* --- block status --- */

static void map_well(int fd, const NbdAsked *asked)
{
	nbd_peer_status(
		fd, asked, NBD_CHUNK_DONE, 3, (uint32_t[]){4096, 8192, 53248});
}

static void map_beyond_the_end(int fd, const NbdAsked *asked)
{
	nbd_peer_status(
		fd, asked, NBD_CHUNK_DONE, 2, (uint32_t[]){4096, 1 << 30});
}

static void map_nothing(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_NONE, NBD_CHUNK_DONE, 0);
}

static void map_of_length_0(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 3,
		(uint32_t[]){4096, 0, SIZE - 4096});
}

static void map_behind_the_end(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 2, (uint32_t[]){SIZE, 4096});
}

static void map_twice(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, 0, 1, (uint32_t[]){4096});
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 1, (uint32_t[]){4096});
}

/* An extent for each byte. */
static void map_endless(int fd, const NbdAsked *asked)
{
	uint32_t *lengths = g_new(uint32_t, SIZE);

	for (unsigned i = 0; i < SIZE; i++)
		lengths[i] = 1;
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, SIZE, lengths);
	g_free(lengths);
}

/* Of one of which nobody asked, and with none at all. */
static void map_of_another_context(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 8);
	nbd_peer_send32(fd, 2);
	nbd_peer_send32(fd, SIZE);
	nbd_peer_send32(fd, 3);
}

static void map_without_extents(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4);
	nbd_peer_send32(fd, 1);
}

/* Each length is more than the disk. */
static void map_of_garbage_sizes(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, NBD_CHUNK_DONE, 2,
		(uint32_t[]){UINT32_MAX, UINT32_MAX});
}

static void map_as_data(int fd, const NbdAsked *asked)
{
	nbd_peer_data(fd, asked, 0, LENGTH, NBD_CHUNK_DONE);
}

static void map_then_error(int fd, const NbdAsked *asked)
{
	nbd_peer_status(fd, asked, 0, 1, (uint32_t[]){SIZE});
	nbd_peer_chunk(fd, asked, NBD_CHUNK_ERROR, NBD_CHUNK_DONE, 6);
	nbd_peer_send32(fd, EINVAL);
	nbd_peer_send16(fd, 0);
}

static void map_cut_off(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 16);
	nbd_peer_send32(fd, 1);
	nbd_peer_send32(fd, SIZE);
	shutdown(fd, SHUT_RDWR);
}

static void map_odd(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, NBD_CHUNK_STATUS, NBD_CHUNK_DONE, 4 + 8 + 4);
	nbd_peer_send32(fd, 1);
	nbd_peer_send32(fd, SIZE);
	nbd_peer_send32(fd, 0);
	nbd_peer_send32(fd, 0);
}

static const struct {
	const char *name;
	NbdPeerAnswer *answer;
	int error;
	bool may_be_good; /* libnbd 1.14 takes it, 1.22 does not */
} maps[] = {
	{"well", map_well, 0},
	{"beyond-the-end", map_beyond_the_end, EPROTO, .may_be_good = true},
	{"nothing", map_nothing, EPROTO},
	{"length-0", map_of_length_0, EPROTO},
	{"behind-the-end", map_behind_the_end, EPROTO},
	{"twice", map_twice, EPROTO},
	{"endless", map_endless, EPROTO},
	{"garbage-sizes", map_of_garbage_sizes, EPROTO},
	{"then-error", map_then_error, EINVAL},
	/* libnbd gives the connection up. */
	{"another-context", map_of_another_context, EPROTO},
	{"no-extents", map_without_extents, EIO},
	{"as-data", map_as_data, EIO},
	{"cut-off", map_cut_off, EIO},
	{"odd", map_odd, EIO},
};

/* --- the tests --- */

typedef struct {
	NbdLoop *loop;
	NbdExport *export;
	GThread *peer;
	gint lost; /* atomic */

	GMutex lock;
	GCond ended;
	unsigned calls; /* lock */
	int error;      /* lock */
} Session;

static void on_lost(void *opaque, const char *why)
{
	Session *session = opaque;

	g_assert_nonnull(why);
	g_atomic_int_inc(&session->lost);
}

static void session_init(Session *session, unsigned timeout_ms,
	unsigned read_timeout_ms)
{
	NbdExportConfig config = {.name = "disk",
		.size = SIZE,
		.timeout_ms = timeout_ms,
		.read_timeout_ms = read_timeout_ms,
		.lost = on_lost,
		.opaque = session};
	g_autoptr(GError) error = NULL;

	memset(session, 0, sizeof(*session));
	g_mutex_init(&session->lock);
	g_cond_init(&session->ended);
	session->loop = nbd_loop_new(&error);
	g_assert_no_error(error);
	session->export = nbd_export_new(session->loop, &config);
}

static void session_clear(Session *session)
{
	nbd_export_free(session->export);
	nbd_loop_free(session->loop);
	if (session->peer)
		g_thread_join(session->peer);
	g_cond_clear(&session->ended);
	g_mutex_clear(&session->lock);
}

static void make_pair(int pair[2])
{
	g_assert_cmpint(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==,
		0);
}

static void session_connect(Session *session, NbdPeerAnswer *answer)
{
	int pair[2];
	g_autoptr(GError) error = NULL;

	make_pair(pair);
	session->peer = nbd_peer_start_take(pair[1], answer);
	nbd_export_connect_take(
		session->export, pair[0], NBD_PEER_CONTEXT, &error);
	g_assert_no_error(error);
}

static void on_done(void *opaque, int error)
{
	Session *session = opaque;

	g_mutex_lock(&session->lock);
	session->calls++;
	session->error = error;
	g_cond_signal(&session->ended);
	g_mutex_unlock(&session->lock);
}

/* The peer's data is zeros, and what is read well is that. */
static int session_read(Session *session)
{
	int64_t end = g_get_monotonic_time() + PATIENCE;
	g_autofree char *buffer = g_strnfill(LENGTH, 'x');
	g_autofree char *zeros = g_malloc0(LENGTH);
	int error;

	g_mutex_lock(&session->lock);
	session->calls = 0;
	nbd_export_read_async(
		session->export, buffer, LENGTH, 0, on_done, session);
	while (session->calls == 0)
		g_assert_true(g_cond_wait_until(
			&session->ended, &session->lock, end));
	error = session->error;
	g_mutex_unlock(&session->lock);
	if (!error)
		g_assert_cmpmem(buffer, LENGTH, zeros, LENGTH);
	return error;
}

/* Of what breaks the protocol libnbd may say either, as its version has it;
 * a negative one stands for any. */
static void assert_error(int error, int expected)
{
	if (expected < 0)
		g_assert_cmpint(error, >, 0);
	else if (error == EIO || error == EPROTO)
		g_assert_true(expected == EIO || expected == EPROTO);
	else
		g_assert_cmpint(error, ==, expected);
}

static void test_read(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	Session session;
	bool lost;
	int error;

	session_init(&session, PATIENT_MS, 500);
	session_connect(&session, reads[i].answer);
	error = session_read(&session);
	assert_error(error, reads[i].error);
	lost = nbd_export_is_lost(session.export);
	if (!reads[i].any_way)
		g_assert_cmpint(lost, ==, reads[i].lost);
	session_clear(&session);
	g_assert_cmpint(session.lost, ==, lost);
	g_assert_cmpuint(session.calls, ==, 1);
}

/* The first is answered as if it were two: the second, of which nothing is
 * known, ends the connection and no later read. */
static void test_read_twice(void)
{
	Session session;

	session_init(&session, PATIENT_MS, 500);
	session_connect(&session, read_twice);
	g_assert_cmpint(session_read(&session), ==, 0);
	g_assert_cmpint(session_read(&session), ==, EIO);
	g_assert_true(nbd_export_is_lost(session.export));
	session_clear(&session);
}

static void test_map(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	g_autoptr(ExtentList) list = NULL;
	g_autoptr(GError) error = NULL;
	Session session;

	session_init(&session, PATIENT_MS, 10000);
	session_connect(&session, maps[i].answer);
	list = nbd_export_read_allocation(session.export, NULL, &error);
	g_assert_true(!list == !!error);
	if (!maps[i].may_be_good || error)
		assert_error(error ? error->code : 0, maps[i].error);
	session_clear(&session);
}

/* After a proper handshake the first answer is noise. */
static void answer_noise(int fd, const NbdAsked *asked G_GNUC_UNUSED)
{
	uint32_t noise[64];

	for (unsigned i = 0; i < G_N_ELEMENTS(noise); i++)
		noise[i] = g_test_rand_int();
	nbd_peer_send(fd, noise, sizeof(noise));
}

/* The same, but with a plausible head. */
static void answer_noisy_chunk(int fd, const NbdAsked *asked)
{
	nbd_peer_chunk(fd, asked, g_test_rand_int_range(0, 8),
		g_test_rand_int_range(0, 2), g_test_rand_int_range(0, 64));
	answer_noise(fd, asked);
}

static void test_noise(void)
{
	for (unsigned i = 0; i < 60; i++) {
		Session session;

		session_init(&session, PATIENT_MS, 200);
		session_connect(
			&session, i % 2 ? answer_noise : answer_noisy_chunk);
		g_assert_cmpint(session_read(&session), !=, 0);
		session_clear(&session);
	}
}

static void test_garbage(void)
{
	unsigned char garbage[4096];

	for (unsigned i = 0; i < 20; i++) {
		g_autoptr(GError) error = NULL;
		Session session;
		int pair[2];

		make_pair(pair);
		for (size_t j = 0; j < sizeof(garbage); j++)
			garbage[j] = g_test_rand_int();
		nbd_peer_send(pair[1], garbage, sizeof(garbage));
		session_init(&session, PATIENT_MS, 1000);
		g_assert_false(nbd_export_connect_take(
			session.export, pair[0], NULL, &error));
		g_assert_error(error, FLEECE_ERROR, EPROTO);
		session_clear(&session);
		close(pair[1]);
	}
}

/* A peer that stops within the handshake, at any byte of its part. */
static void test_silence(gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	Session session;
	int pair[2];
	int64_t start = g_get_monotonic_time();

	make_pair(pair);
	nbd_peer_send(pair[1], "NBDMAGICIHAVEOPT\0\3", GPOINTER_TO_UINT(data));
	session_init(&session, SHORT_MS, 1000);
	g_assert_false(
		nbd_export_connect_take(session.export, pair[0], NULL, &error));
	g_assert_error(error, FLEECE_ERROR, ETIMEDOUT);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 300000);
	session_clear(&session);
	close(pair[1]);
}

static void test_hang_up(void)
{
	g_autoptr(GError) error = NULL;
	Session session;
	int pair[2];

	make_pair(pair);
	close(pair[1]);
	session_init(&session, PATIENT_MS, 1000);
	g_assert_false(
		nbd_export_connect_take(session.export, pair[0], NULL, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	/* No socket at all. */
	g_assert_false(nbd_export_connect_take(session.export,
		open("/dev/null", O_RDWR | O_CLOEXEC), NULL, &error));
	g_assert_nonnull(error);
	session_clear(&session);
}

static void add_tables(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++) {
		g_autofree char *path =
			g_strconcat("/nbd-hostile/read/", reads[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_read);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(maps); i++) {
		g_autofree char *path =
			g_strconcat("/nbd-hostile/map/", maps[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_map);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add_tables();
	g_test_add_func("/nbd-hostile/read-twice", test_read_twice);
	g_test_add_func("/nbd-hostile/noise", test_noise);
	g_test_add_func("/nbd-hostile/garbage", test_garbage);
	g_test_add_data_func(
		"/nbd-hostile/silence", GUINT_TO_POINTER(0), test_silence);
	g_test_add_data_func("/nbd-hostile/silence-later", GUINT_TO_POINTER(18),
		test_silence);
	g_test_add_func("/nbd-hostile/hang-up", test_hang_up);
	return g_test_run();
}
