/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four acts with a guest agent that says anything: none of them succeeds
 * before the agent has answered with our id. */
#include "guest-agent.h"

#include "fake-socket.h"

#define ACTS 4

static bool act(unsigned what, GuestAgent *agent, GError **error)
{
	uint64_t count = 0;
	bool frozen;

	switch (what) {
	case 0:
		return guest_agent_is_frozen(agent, 1, &frozen, error);
	case 1:
		return guest_agent_freeze(agent, 1, &count, error);
	default:
		return guest_agent_thaw(agent, 1, &count, error);
	}
}

static void check_error(const GError *error)
{
	g_assert_true(g_str_has_prefix(error->message, "guest agent a: "));
	g_assert_true(g_utf8_validate(error->message, -1, NULL));
	g_assert_cmpuint(strlen(error->message), <, 2000);
	for (const char *p = error->message; *p; p++)
		g_assert_false(g_ascii_iscntrl(*p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned acts = fuzz_byte(&in);
	unsigned piece = fuzz_byte(&in);
	g_autoptr(GuestAgent) agent = guest_agent_connect("a", 1, NULL);

	fake_socket_feed(in, 1 + piece / 2, piece & 1);
	for (unsigned i = 0; i < ACTS; i++) {
		g_autoptr(GError) error = NULL;
		bool good = act(acts >> 2 * i & 3, agent, &error);

		fuzz_assert_told(good, error);
		if (error)
			check_error(error);
		else
			g_assert_true(fake_socket_answered());
	}
	return 0;
}
