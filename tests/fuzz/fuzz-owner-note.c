/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of an owner's note: what is understood says the same when it is
 * written again. */
#include "owner.h"

#include "fuzz.h"

static void assert_same(const Owner *a, const Owner *b)
{
	g_assert_cmpstr(a->boot, ==, b->boot);
	g_assert_cmpstr(a->state, ==, b->state);
	g_assert_cmpstr(a->session, ==, b->session);
	g_assert_cmpint(a->pid, ==, b->pid);
	g_assert_cmpuint(a->start, ==, b->start);
	g_assert_true(a->server == b->server);
	g_assert_cmpuint(a->fds, ==, b->fds);
	g_assert_cmpstr(a->agent, ==, b->agent);
}

static void try_note(const char *text)
{
	g_autoptr(Owner) owner = owner_from_text(text);
	g_autoptr(Owner) again = NULL;
	g_autofree char *written = NULL;

	if (!owner)
		return;
	g_assert_cmpint(owner->pid, >, 0);
	g_assert_true(!owner->agent || owner->agent[0] == '/');
	written = owner_to_text(owner);
	again = owner_from_text(written);
	g_assert_nonnull(again);
	assert_same(owner, again);
	owner_is_alive(owner);
}

/* A path may hold anything. */
static void try_agent(const char *path)
{
	Owner owner = {
		.boot = (char *)"b",
		.state = (char *)"frozen",
		.session = (char *)"0badcafe",
		.pid = 1,
		.agent = g_strconcat("/", path, NULL),
	};
	g_autofree char *text = owner_to_text(&owner);
	g_autoptr(Owner) again = owner_from_text(text);

	g_assert_nonnull(again);
	assert_same(&owner, again);
	g_free(owner.agent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	g_autofree char *text = fuzz_text(&in);

	try_note(text);
	try_agent(text);
	return 0;
}
