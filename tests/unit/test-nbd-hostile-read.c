/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an NbdExport makes of answers to reads that break the protocol. */
#include <errno.h>
#include <sys/socket.h>

#include "nbd-session.h"

#define SIZE NBD_PEER_SIZE
#define LENGTH SESSION_LENGTH

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

static void test_read(gconstpointer data)
{
	unsigned i = GPOINTER_TO_UINT(data);
	Session session;
	bool lost;
	int error;

	session_init(&session, SESSION_PATIENT_MS, 500);
	session_connect(&session, reads[i].answer);
	error = session_read(&session);
	session_assert_error(error, reads[i].error);
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

	session_init(&session, SESSION_PATIENT_MS, 500);
	session_connect(&session, read_twice);
	g_assert_cmpint(session_read(&session), ==, 0);
	g_assert_cmpint(session_read(&session), ==, EIO);
	g_assert_true(nbd_export_is_lost(session.export));
	session_clear(&session);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(reads); i++) {
		g_autofree char *path =
			g_strconcat("/nbd-hostile-read/", reads[i].name, NULL);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_read);
	}
	g_test_add_func("/nbd-hostile-read/two-answers", test_read_twice);
	return g_test_run();
}
