/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest agent's client: against agents that misbehave by script. */
#include "guest-agent.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "scripted-agent.h"

/* Long enough for a slow machine, where the agent does answer. */
#define PATIENT_MS 20000
/* And where it does not. */
#define SHORT_MS 100

#define NUMBER(n) "{\"return\": " n "}\n"
#define TEXT(text) "{\"return\": \"" text "\"}\n"

/* An agent with its client, for one test. */
typedef struct {
	ScriptedAgent *peer;
	GuestAgent *agent;
	GError *error;
	uint64_t count;
	bool frozen;
} Talk;

static void talk_clear(Talk *talk)
{
	g_clear_error(&talk->error);
	guest_agent_free(talk->agent);
	scripted_agent_free(talk->peer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Talk, talk_clear)

static Talk talk_with(const AgentStep *steps, size_t n)
{
	Talk talk = { .peer = scripted_agent_new(steps, n) };

	talk.agent = guest_agent_connect(scripted_agent_path(talk.peer),
		PATIENT_MS, &talk.error);
	g_assert_no_error(talk.error);
	return talk;
}

#define TALK(steps) talk_with(steps, G_N_ELEMENTS(steps))

static void assert_failed(Talk *talk, GQuark domain, int code,
	const char *words)
{
	g_assert_error(talk->error, domain, code);
	if (!strstr(talk->error->message, words) ||
	    !strstr(talk->error->message, scripted_agent_path(talk->peer)))
		g_error("\"%s\" lacks \"%s\"", talk->error->message, words);
	g_clear_error(&talk->error);
}

static void must_freeze(Talk *talk, unsigned count)
{
	guest_agent_freeze(talk->agent, PATIENT_MS, &talk->count,
		&talk->error);
	g_assert_no_error(talk->error);
	g_assert_cmpuint(talk->count, ==, count);
}

static void must_thaw(Talk *talk, unsigned count)
{
	guest_agent_thaw(talk->agent, PATIENT_MS, &talk->count, &talk->error);
	g_assert_no_error(talk->error);
	g_assert_cmpuint(talk->count, ==, count);
}

static void must_be(Talk *talk, bool frozen)
{
	guest_agent_is_frozen(talk->agent, PATIENT_MS, &talk->frozen,
		&talk->error);
	g_assert_no_error(talk->error);
	g_assert_cmpint(talk->frozen, ==, frozen);
}

/* It synchronises once, as long as all goes well. */
static void test_commands(void)
{
	static const AgentStep steps[] = { SYNCED, { STATUS, TEXT("thawed") },
		{ FREEZE, NUMBER("3") }, { STATUS, TEXT("frozen") },
		{ THAW, NUMBER("2") } };
	g_auto(Talk) talk = TALK(steps);

	must_be(&talk, false);
	must_freeze(&talk, 3);
	must_be(&talk, true);
	must_thaw(&talk, 2);
}

static void test_no_socket(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(guest_agent_connect("/nonexistent/agent", SHORT_MS,
		&error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_assert_nonnull(strstr(error->message, "guest agent"));
}

/* What an earlier client left, in all its forms: half a reply, garbage, a
 * whole reply, the reply to another sync. */
static void test_stale_bytes(void)
{
	static const char *const stale[] = {
		"", NUMBER("7"), "{\"return\": {\"half", "\x01\x80]]}{",
		"\xff{\"return\": 1}\n", "\xff{\"return\": 1}\n" NUMBER("9"),
		"\xff{\"ret", "\xff\xff\xff",
		AGENT_REFUSES("JSON parse error, stray '\\u00ff'"),
		"\xff{\"return\": \"%ID%\"}\n\xff{\"error\": %ID%}\n",
		"\xff no JSON",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(stale); i++) {
		g_autofree char *reply = g_strconcat(stale[i],
			"\xff{\"return\": %ID%}\n", NULL);
		const AgentStep steps[] = { { SYNC, reply },
			{ FREEZE, NUMBER("1") } };
		g_auto(Talk) talk = TALK(steps);

		g_test_message("%u", i);
		must_freeze(&talk, 1);
	}
}

static void test_dribble(void)
{
	static const AgentStep steps[] = {
		{ SYNC, "{\"return\": 4}\xff{\"return\": 4}\n"
			"\xff{\"return\": %ID%}\n", .dribble = true },
		{ FREEZE, NUMBER("12"), .dribble = true } };
	g_auto(Talk) talk = TALK(steps);

	must_freeze(&talk, 12);
}

/* The id is the one of no sync of ours. */
static void test_id_mismatch(void)
{
	static const AgentStep steps[] = {
		{ SYNC, "\xff{\"return\": 12345}\n" },
		{ STATUS, TEXT("thawed") } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_is_frozen(talk.agent, SHORT_MS,
		&talk.frozen, &talk.error));
	assert_failed(&talk, FLEECE_ERROR, ETIMEDOUT, STATUS ": no answer");
}

static void test_silence(void)
{
	static const AgentStep steps[] = { { SYNC, NULL }, { STATUS, NULL } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_is_frozen(talk.agent, SHORT_MS,
		&talk.frozen, &talk.error));
	assert_failed(&talk, FLEECE_ERROR, ETIMEDOUT, "no agent runs");
}

/* The late reply to the freeze is not taken for that to the thaw. */
static void test_resync_after_timeout(void)
{
	static const AgentStep steps[] = { SYNCED, { FREEZE, NULL },
		{ SYNC, NUMBER("5") "\xff{\"return\": %ID%}\n" },
		{ THAW, NUMBER("6") } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_freeze(talk.agent, SHORT_MS, &talk.count,
		&talk.error));
	assert_failed(&talk, FLEECE_ERROR, ETIMEDOUT, FREEZE ": no answer");
	must_thaw(&talk, 6);
}

/* A thaw is sent without waiting for the reply to its sync. */
static void test_thaw_gets_through(void)
{
	static const AgentStep steps[] = { { SYNC, NULL }, { THAW, NULL } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_thaw(talk.agent, SHORT_MS, &talk.count,
		&talk.error));
	assert_failed(&talk, FLEECE_ERROR, ETIMEDOUT, THAW);
}

static void test_garbage(void)
{
	static const char *const replies[] = {
		"no JSON\n", "[1]\n", "{\"a\": }\n", "{}\n",
		"{\"return\": null}\n", NUMBER("\"3\""), NUMBER("{}"),
		"{\"error\": 3}\n", "{\"return\": \x80}\n",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
		const AgentStep steps[] = { SYNCED, { FREEZE, replies[i] } };
		g_auto(Talk) talk = TALK(steps);

		g_test_message("%s", replies[i]);
		g_assert_false(guest_agent_freeze(talk.agent, PATIENT_MS,
			&talk.count, &talk.error));
		assert_failed(&talk, FLEECE_ERROR, EPROTO, FREEZE ": ");
	}
}

static void test_unknown_status(void)
{
	static const AgentStep steps[] = { SYNCED, { STATUS, TEXT("cold") } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_is_frozen(talk.agent, PATIENT_MS,
		&talk.frozen, &talk.error));
	assert_failed(&talk, FLEECE_ERROR, EPROTO, "\"cold\"");
}

/* No control character of it, and no half of a letter at the end. */
static void test_wild_status(void)
{
	static const AgentStep steps[] = { SYNCED, { STATUS,
		TEXT("\\u001b[2J34567890123456789012345678901234567\u00e9x")
	} };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_is_frozen(talk.agent, PATIENT_MS,
		&talk.frozen, &talk.error));
	g_assert_null(strchr(talk.error->message, '\x1b'));
	g_assert_true(g_utf8_validate(talk.error->message, -1, NULL));
	assert_failed(&talk, FLEECE_ERROR, EPROTO, "567\u00e9\"");
}

static void test_closed(void)
{
	static const AgentStep steps[] = { SYNCED,
		{ FREEZE, NULL, .hang_up = true } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_freeze(talk.agent, PATIENT_MS, &talk.count,
		&talk.error));
	assert_failed(&talk, FLEECE_ERROR, ECONNRESET, "was closed");
	g_assert_false(guest_agent_thaw(talk.agent, PATIENT_MS, &talk.count,
		&talk.error));
	assert_failed(&talk, FLEECE_ERROR, ECONNRESET, "was closed");
}

/* The agent's own words, but neither too many nor any control character. */
static void test_refusal(void)
{
	g_autofree char *flood = g_strnfill(5000, 'x');
	g_autofree char *reply = g_strdup_printf(
		AGENT_REFUSES("failed to freeze /\\u001b[2J%s"), flood);
	const AgentStep steps[] = { SYNCED, { FREEZE, reply } };
	g_auto(Talk) talk = TALK(steps);

	g_assert_false(guest_agent_freeze(talk.agent, PATIENT_MS, &talk.count,
		&talk.error));
	g_assert_cmpuint(strlen(talk.error->message), <, 500);
	g_assert_null(strchr(talk.error->message, '\x1b'));
	assert_failed(&talk, QMP_ERROR, QMP_ERROR_GENERIC,
		FREEZE ": failed to freeze /");
}

static void test_thaw_refused(void)
{
	static const AgentStep frozen[] = { SYNCED,
		{ THAW, AGENT_REFUSES("no") }, { STATUS, TEXT("frozen") } };
	static const AgentStep thawed[] = { SYNCED,
		{ THAW, AGENT_REFUSES("no") }, { STATUS, TEXT("thawed") } };
	g_auto(Talk) bad = TALK(frozen);
	g_auto(Talk) good = TALK(thawed);

	g_assert_false(guest_agent_thaw(bad.agent, PATIENT_MS, &bad.count,
		&bad.error));
	assert_failed(&bad, QMP_ERROR, QMP_ERROR_GENERIC, THAW ": no");
	must_thaw(&good, 0);
}

static void test_thaw_at(void)
{
	static const AgentStep steps[] = { SYNCED, { THAW, NUMBER("2") } };
	g_autoptr(ScriptedAgent) peer = scripted_agent_new(steps,
		G_N_ELEMENTS(steps));
	g_autoptr(GError) error = NULL;
	uint64_t count;

	g_assert_true(guest_agent_thaw_at(scripted_agent_path(peer),
		PATIENT_MS, &count, &error));
	g_assert_cmpuint(count, ==, 2);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/guest-agent/commands", test_commands);
	g_test_add_func("/guest-agent/no-socket", test_no_socket);
	g_test_add_func("/guest-agent/stale-bytes", test_stale_bytes);
	g_test_add_func("/guest-agent/dribble", test_dribble);
	g_test_add_func("/guest-agent/id-mismatch", test_id_mismatch);
	g_test_add_func("/guest-agent/silence", test_silence);
	g_test_add_func("/guest-agent/resync", test_resync_after_timeout);
	g_test_add_func("/guest-agent/thaw-gets-through",
		test_thaw_gets_through);
	g_test_add_func("/guest-agent/garbage", test_garbage);
	g_test_add_func("/guest-agent/unknown-status", test_unknown_status);
	g_test_add_func("/guest-agent/wild-status", test_wild_status);
	g_test_add_func("/guest-agent/closed", test_closed);
	g_test_add_func("/guest-agent/refusal", test_refusal);
	g_test_add_func("/guest-agent/thaw-refused", test_thaw_refused);
	g_test_add_func("/guest-agent/thaw-at", test_thaw_at);
	return g_test_run();
}
