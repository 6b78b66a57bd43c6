/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-socket.h"

#include <errno.h>
#include <limits.h>

#include "fleece-error.h"
#include "qmp-socket.h"

#define PLACE "%ID%"
#define KEY "\"id\":"

static struct {
	FuzzInput in;
	size_t piece;
	bool silent;
	bool answered;
	char id[64];
} peer;

void fake_socket_feed(FuzzInput in, size_t piece, bool silent)
{
	peer.in = in;
	peer.piece = piece;
	peer.silent = silent;
	peer.answered = false;
	peer.id[0] = '\0';
}

bool fake_socket_answered(void)
{
	return peer.answered;
}

int64_t qmp_deadline(unsigned timeout_ms)
{
	return timeout_ms;
}

int qmp_socket_connect(const char *path, int64_t deadline, GError **error)
{
	return INT_MAX; /* no descriptor, and closing it does no harm */
}

/* A number, or a string with its quotes. */
static void take_id(const char *text)
{
	const char *key = strstr(text, KEY);
	size_t length;

	if (!key)
		return;
	length = strcspn(key + strlen(KEY), ",}");
	g_assert_cmpuint(length, <, sizeof(peer.id));
	g_strlcpy(peer.id, key + strlen(KEY), length + 1);
	peer.answered = false;
}

bool qmp_socket_send(int fd, const char *bytes, size_t n, int pass_fd,
	int64_t deadline, GError **error)
{
	g_assert_cmpuint(strlen(bytes), ==, n);
	g_assert_true(g_str_has_suffix(bytes, "\n"));
	take_id(bytes);
	return true;
}

static bool at_place(size_t offset)
{
	return peer.in.size - offset >= strlen(PLACE) &&
		memcmp(peer.in.data + offset, PLACE, strlen(PLACE)) == 0;
}

/* How many bytes come before the next place for an id. */
static size_t plain_bytes(size_t max)
{
	size_t n = 0;

	while (n < MIN(max, peer.in.size) && !at_place(n))
		n++;
	return n;
}

static void skip(size_t n)
{
	peer.in.data += n;
	peer.in.size -= n;
}

ssize_t qmp_socket_receive(int fd, char *bytes, size_t size, int64_t deadline,
	GError **error)
{
	size_t n;

	while (at_place(0) && !peer.id[0])
		skip(strlen(PLACE));
	if (peer.in.size == 0 && peer.silent)
		fleece_set_error(error, ETIMEDOUT, "no answer in time");
	if (peer.in.size == 0)
		return peer.silent ? -1 : 0;
	if (at_place(0)) {
		skip(strlen(PLACE));
		peer.answered = true;
		n = strlen(peer.id);
		memcpy(bytes, peer.id, n);
		return n;
	}
	n = plain_bytes(MIN(size, peer.piece));
	memcpy(bytes, peer.in.data, n);
	skip(n);
	return n;
}
