/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NbdConnection alone: a connection that ends while a request is sent. */
#include "nbd-connection.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nbd-peer.h"

#define PATIENT_MS 20000
#define LARGEST 256
#define CACHED 8

static void no_answer(int fd, const NbdAsked *asked)
{
}

/* What is freed is full of ones from now on: malloc(3) has no room any more
 * for keeping it as it was. */
static void spoil_what_is_freed(void)
{
	void *kept[CACHED];

	mallopt(M_PERTURB, 0xff);
	for (size_t size = 16; size <= LARGEST; size += 16) {
		for (unsigned i = 0; i < CACHED; i++)
			kept[i] = malloc(size);
		for (unsigned i = 0; i < CACHED; i++)
			free(kept[i]);
	}
}

/* The request ends once, whatever libnbd returns. */
static void test_ends_while_sending(void)
{
	GQueue finished = G_QUEUE_INIT;
	NbdConnection *connection = nbd_connection_new(&finished);
	char buffer[512];
	NbdRequest request = { .type = NBD_REQUEST_READ, .buffer = buffer,
		.length = sizeof(buffer) };
	g_autoptr(GError) error = NULL;
	int pair[2];
	GThread *peer;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
		pair), ==, 0);
	peer = nbd_peer_start_take(pair[0], no_answer);
	g_assert_true(nbd_connection_open_take(connection, pair[1], "", NULL,
		PATIENT_MS, &error));
	g_assert_no_error(error);
	request.link.data = &request;
	g_assert_cmpint(shutdown(pair[1], SHUT_RDWR), ==, 0);
	g_thread_join(peer);
	spoil_what_is_freed();
	nbd_connection_issue(connection, &request, G_MAXINT64);
	g_assert_cmpuint(finished.length, ==, 1);
	g_assert_cmpint(request.error, ==, EIO);
	g_assert_nonnull(nbd_connection_broken(connection));
	nbd_connection_free(connection);
	g_assert_cmpuint(finished.length, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/nbd-connection/ends-while-sending",
		test_ends_while_sending);
	return g_test_run();
}
