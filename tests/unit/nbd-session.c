/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "fleece-error.h"

#define PATIENCE (20 * G_TIME_SPAN_SECOND)

static void on_lost(void *opaque, const char *why)
{
	Session *session = opaque;

	g_assert_nonnull(why);
	g_atomic_int_inc(&session->lost);
}

void session_init(Session *session, unsigned timeout_ms,
	unsigned read_timeout_ms)
{
	NbdExportConfig config = {.name = "disk",
		.size = NBD_PEER_SIZE,
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

void session_clear(Session *session)
{
	nbd_export_free(session->export);
	nbd_loop_free(session->loop);
	if (session->peer)
		g_thread_join(session->peer);
	g_cond_clear(&session->ended);
	g_mutex_clear(&session->lock);
}

void session_make_pair(int pair[2])
{
	g_assert_cmpint(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==,
		0);
}

void session_connect(Session *session, NbdPeerAnswer *answer)
{
	int pair[2];
	g_autoptr(GError) error = NULL;

	session_make_pair(pair);
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
int session_read(Session *session)
{
	int64_t end = g_get_monotonic_time() + PATIENCE;
	g_autofree char *buffer = g_strnfill(SESSION_LENGTH, 'x');
	g_autofree char *zeros = g_malloc0(SESSION_LENGTH);
	int error;

	g_mutex_lock(&session->lock);
	session->calls = 0;
	nbd_export_read_async(
		session->export, buffer, SESSION_LENGTH, 0, on_done, session);
	while (session->calls == 0)
		g_assert_true(g_cond_wait_until(
			&session->ended, &session->lock, end));
	error = session->error;
	g_mutex_unlock(&session->lock);
	if (!error)
		g_assert_cmpmem(buffer, SESSION_LENGTH, zeros, SESSION_LENGTH);
	return error;
}

void session_assert_error(int error, int expected)
{
	if (expected < 0)
		g_assert_cmpint(error, >, 0);
	else if (error == EIO || error == EPROTO)
		g_assert_true(expected == EIO || expected == EPROTO);
	else
		g_assert_cmpint(error, ==, expected);
}
