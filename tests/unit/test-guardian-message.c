/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes between the daemon and its guardian. */
#include "guardian-message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
	int ends[2];
} Pair;

static void set_up(Pair *pair, gconstpointer unused)
{
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
		pair->ends), ==, 0);
}

static void tear_down(Pair *pair, gconstpointer unused)
{
	close(pair->ends[0]);
	close(pair->ends[1]);
}

static void must_send(const Pair *pair, const Message *message)
{
	if (!message_send(pair->ends[0], message))
		g_error("send: %s", g_strerror(errno));
}

/* Texts that are NULL come as "". */
static void assert_comes(const Pair *pair, const Message *sent)
{
	Message m;
	g_autoptr(GVariant) packet = message_receive(pair->ends[1], &m);

	g_assert_nonnull(packet);
	g_assert_cmpuint(m.kind, ==, sent->kind);
	g_assert_cmpuint(m.list, ==, sent->list);
	g_assert_cmpuint(m.number, ==, sent->number);
	g_assert_cmpuint(m.undo, ==, sent->undo);
	g_assert_cmpstr(m.a, ==, sent->a ? sent->a : "");
	g_assert_cmpstr(m.b, ==, sent->b ? sent->b : "");
	g_assert_cmpstr(m.c, ==, sent->c ? sent->c : "");
}

/* Each field with a value of its own, and the extremes. */
static const Message messages[] = {
	{ MESSAGE_LIST, 1, 30000, 0, "web01", "/run/web01.qmp", NULL },
	{ MESSAGE_ADD, 2, 3, 4, "a", "b", "c" },
	{ MESSAGE_ADD, G_MAXUINT32, G_MAXUINT32 - 1, G_MAXUINT32 - 2, "", "",
		"c" },
	{ MESSAGE_DROP, 5, 6, 0, NULL, NULL, NULL },
	{ MESSAGE_OPEN, 7, 5000, 0, NULL, NULL, NULL },
	{ MESSAGE_MOUNT, 0, 0x100023, 0, "/mnt/with space\n", NULL, NULL },
	{ MESSAGE_MOUNT, 0, 1, 0, "/mnt/no UTF-8 \xff\xc3", "\x80", NULL },
	{ MESSAGE_BYE, 0, 0, 0, NULL, NULL, NULL },
};

static void test_round_trip(Pair *pair, gconstpointer unused)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(messages); i++) {
		must_send(pair, &messages[i]);
		assert_comes(pair, &messages[i]);
	}
}

/* They stay apart and in order, and outlive their sender. */
static void test_queue(Pair *pair, gconstpointer unused)
{
	Message m;

	for (unsigned i = 0; i < G_N_ELEMENTS(messages); i++)
		must_send(pair, &messages[i]);
	close(pair->ends[0]);
	pair->ends[0] = -1;
	for (unsigned i = 0; i < G_N_ELEMENTS(messages); i++)
		assert_comes(pair, &messages[i]);
	g_assert_null(message_receive(pair->ends[1], &m));
	g_assert_null(message_receive(pair->ends[1], &m));
}

/* The longest names that there are: a path and a QOM path. */
static void test_long_texts(Pair *pair, gconstpointer unused)
{
	g_autofree char *path = g_strnfill(4095, 'p');
	g_autofree char *name = g_strnfill(1023, 'n');
	Message m = { MESSAGE_ADD, 1, 2, 3, path, path, name };

	must_send(pair, &m);
	assert_comes(pair, &m);
}

static void send_bytes(const Pair *pair, const void *bytes, size_t size)
{
	g_assert_cmpint(send(pair->ends[0], bytes, size, MSG_NOSIGNAL), ==,
		(ssize_t)size);
}

static void assert_garbage(const Pair *pair)
{
	Message m;

	g_assert_null(message_receive(pair->ends[1], &m));
}

static void test_garbage(Pair *pair, gconstpointer unused)
{
	unsigned char bytes[64] = { 0 };

	send_bytes(pair, "x", 1);
	assert_garbage(pair);
	send_bytes(pair, bytes, 16); /* the numbers, and no text */
	assert_garbage(pair);
	memset(bytes, 0xff, sizeof(bytes));
	send_bytes(pair, bytes, sizeof(bytes));
	assert_garbage(pair);
	must_send(pair, &messages[1]); /* none of it is left over */
	assert_comes(pair, &messages[1]);
}

/* A message cut off at any byte is none. */
static void test_cut_off(Pair *pair, gconstpointer unused)
{
	char bytes[256];
	ssize_t size;

	must_send(pair, &messages[1]);
	size = recv(pair->ends[1], bytes, sizeof(bytes), 0);
	g_assert_cmpint(size, >, 16);
	for (ssize_t cut = 1; cut < size; cut++) {
		send_bytes(pair, bytes, cut);
		assert_garbage(pair);
	}
	send_bytes(pair, bytes, size);
	assert_comes(pair, &messages[1]);
}

/* One that is longer than can be read does not come as half: the guardian
 * would take that for the daemon's end. */
static void test_too_long(Pair *pair, gconstpointer unused)
{
	g_autofree char *text = g_strnfill(20000, 'x');
	Message m = { MESSAGE_ADD, 1, 2, 3, text, "b", "c" };

	g_assert_false(message_send(pair->ends[0], &m));
	g_assert_cmpint(errno, ==, EMSGSIZE);
	must_send(pair, &messages[1]);
	assert_comes(pair, &messages[1]);
}

static void test_peer_gone(Pair *pair, gconstpointer unused)
{
	close(pair->ends[1]);
	pair->ends[1] = -1;
	g_assert_false(message_send(pair->ends[0], &messages[0]));
	g_assert_cmpint(errno, ==, EPIPE);
}

static void add(const char *path, void (*test)(Pair *, gconstpointer))
{
	g_test_add(path, Pair, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/guardian-message/round-trip", test_round_trip);
	add("/guardian-message/queue", test_queue);
	add("/guardian-message/long", test_long_texts);
	add("/guardian-message/garbage", test_garbage);
	add("/guardian-message/cut-off", test_cut_off);
	add("/guardian-message/too-long", test_too_long);
	add("/guardian-message/peer-gone", test_peer_gone);
	return g_test_run();
}
