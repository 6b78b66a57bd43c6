/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of any bytes, and messages with any texts: what is sent comes as it
 * was, and what cannot be sent is refused where it is sent. */
#include "guardian-message.h"

#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

static int ends[2];

static void assert_comes(const Message *sent)
{
	Message m;
	g_autoptr(GVariant) packet = message_receive(ends[1], &m);

	g_assert_nonnull(packet);
	g_assert_cmpuint(m.kind, ==, sent->kind);
	g_assert_cmpuint(m.list, ==, sent->list);
	g_assert_cmpuint(m.number, ==, sent->number);
	g_assert_cmpuint(m.undo, ==, sent->undo);
	g_assert_cmpstr(m.a, ==, sent->a);
	g_assert_cmpstr(m.b, ==, sent->b);
	g_assert_cmpstr(m.c, ==, sent->c);
}

static void try_packet(const uint8_t *data, size_t size)
{
	Message m;
	g_autoptr(GVariant) packet = NULL;

	if (send(ends[0], data, size, MSG_NOSIGNAL) != (ssize_t)size)
		return;
	packet = message_receive(ends[1], &m);
	if (packet && message_send(ends[0], &m))
		assert_comes(&m);
}

/* A text a line; the first may be made long. */
static void try_message(FuzzInput in)
{
	unsigned times = fuzz_byte(&in);
	Message m = {
		.kind = fuzz_byte(&in),
		.list = fuzz_number(&in, 4),
		.number = fuzz_number(&in, 4),
		.undo = fuzz_number(&in, 4),
	};
	g_autofree char *a = fuzz_line(&in);
	g_autofree char *b = fuzz_line(&in);
	g_autofree char *c = fuzz_line(&in);
	GString *many = g_string_new(NULL);

	for (unsigned i = 0; a && i <= times; i++)
		g_string_append(many, a);
	m.a = many->str;
	m.b = b ? b : "";
	m.c = c ? c : "";
	if (message_send(ends[0], &m))
		assert_comes(&m);
	g_string_free(many, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_log_nothing();
	if (size == 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	try_packet(data, size);
	try_message((FuzzInput){ data, size });
	close(ends[0]);
	close(ends[1]);
	return 0;
}
