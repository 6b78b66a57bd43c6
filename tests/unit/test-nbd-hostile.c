/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An NbdExport against a peer that speaks no NBD, or stops in the midst. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fleece-error.h"
#include "nbd-session.h"

#define SHORT_MS 300

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

		session_init(&session, SESSION_PATIENT_MS, 200);
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

		session_make_pair(pair);
		for (size_t j = 0; j < sizeof(garbage); j++)
			garbage[j] = g_test_rand_int();
		nbd_peer_send(pair[1], garbage, sizeof(garbage));
		session_init(&session, SESSION_PATIENT_MS, 1000);
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

	session_make_pair(pair);
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

	session_make_pair(pair);
	close(pair[1]);
	session_init(&session, SESSION_PATIENT_MS, 1000);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/nbd-hostile/noise", test_noise);
	g_test_add_func("/nbd-hostile/garbage", test_garbage);
	g_test_add_data_func(
		"/nbd-hostile/silence", GUINT_TO_POINTER(0), test_silence);
	g_test_add_data_func("/nbd-hostile/silence-later", GUINT_TO_POINTER(18),
		test_silence);
	g_test_add_func("/nbd-hostile/hang-up", test_hang_up);
	return g_test_run();
}
