/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor that says anything, greeting and all: a command only succeeds
 * with a reply that has its own id. */
#include "qmp-client.h"

#include "fake-socket.h"
#include "qmp-object.h"
#include "qmp-query.h"

#define COMMANDS 4

static void command(QmpClient *client, unsigned what)
{
	g_autoptr(GError) error = NULL;
	bool running;
	bool good = what ? qmp_stop(client, &error) :
		qmp_query_status(client, &running, NULL, &error);
	const char *name = what ? "stop: " : "query-status: ";

	fuzz_assert_told(good, error);
	if (good)
		g_assert_true(fake_socket_answered());
	else
		g_assert_true(g_str_has_prefix(error->message, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned commands = fuzz_byte(&in);
	unsigned piece = fuzz_byte(&in);
	g_autoptr(GError) error = NULL;
	g_autoptr(QmpClient) client = NULL;

	fake_socket_feed(in, 1 + piece / 2, piece & 1);
	client = qmp_client_connect("qmp", 1, &error);
	fuzz_assert_told(client, error);
	if (!client)
		return 0;
	g_assert_true(fake_socket_answered());
	g_assert_true(g_utf8_validate(qmp_client_version_text(client), -1,
		NULL));
	for (unsigned i = 0; i < COMMANDS; i++)
		command(client, commands >> i & 1);
	return 0;
}
