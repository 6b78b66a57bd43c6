/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thawing a guest in the midst of an undo list. */
#include "undo.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "scripted-agent.h"
#include "undo-script.h"

#define PATIENT_MS 20000
#define THAWED { THAW, "{\"return\": 1}\n" }

static void add(UndoList *list, enum undo_kind kind, const char *a)
{
	g_assert_true(undo_list_add(list, kind, a, NULL, NULL, NULL, NULL));
}

/* A list as of a set-up in the middle of its instant. */
static UndoList *new_list(const char *agent)
{
	UndoList *list = undo_list_new("web01", NULL);

	add(list, UNDO_NODE, "a");
	add(list, UNDO_THAW, agent);
	add(list, UNDO_STOP, NULL);
	add(list, UNDO_NODE, "b");
	return list;
}

static bool play(UndoList *list, const ScriptedStep *steps, size_t n,
	GError **error)
{
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, n);
	g_autoptr(QmpClient) client = qmp_client_connect(
		scripted_qmp_path(peer), PATIENT_MS, NULL);

	g_assert_nonnull(client);
	return undo_list_run(list, client, error);
}

/* The agent is there only once the guest runs, and before the rest. */
static void test_all(void)
{
	static const AgentStep agent_steps[] = { SYNCED, THAWED };
	static const ScriptedStep steps[] = { CONT, DEL("b", DONE),
		DEL("a", DONE) };
	g_autoptr(ScriptedAgent) agent = scripted_agent_new(agent_steps,
		G_N_ELEMENTS(agent_steps));
	g_autoptr(UndoList) list = new_list(scripted_agent_path(agent));
	g_autoptr(GError) error = NULL;

	g_assert_true(undo_list_has(list, UNDO_THAW));
	play(list, steps, G_N_ELEMENTS(steps), &error);
	g_assert_no_error(error);
	g_assert_cmpuint(undo_list_length(list), ==, 0);
}

/* An agent that says no, or is not there, keeps nothing else from being
 * undone; its thaw stays. */
static void assert_stays(const char *path, const char *words)
{
	static const ScriptedStep steps[] = { CONT, DEL("b", DONE),
		DEL("a", DONE) };
	g_autoptr(UndoList) list = new_list(path);
	g_autoptr(GError) error = NULL;

	g_assert_false(play(list, steps, G_N_ELEMENTS(steps), &error));
	g_assert_nonnull(strstr(error->message, words));
	g_assert_nonnull(strstr(error->message, "web01"));
	g_assert_cmpuint(undo_list_length(list), ==, 1);
	g_assert_true(undo_list_has(list, UNDO_THAW));
}

static void test_stays(void)
{
	static const AgentStep steps[] = { SYNCED,
		{ THAW, AGENT_REFUSES("too cold") },
		{ STATUS, "{\"return\": \"frozen\"}\n" } };
	g_autoptr(ScriptedAgent) agent = scripted_agent_new(steps,
		G_N_ELEMENTS(steps));

	assert_stays(scripted_agent_path(agent), "too cold");
	assert_stays("/nonexistent/agent", "No such file");
}

/* Again and again, over new connections. */
static void test_until_answered(void)
{
	static const AgentStep steps[] = { { SYNC, NULL, .hang_up = true },
		SYNCED, { THAW, AGENT_REFUSES("no") },
		{ STATUS, "garbage\n" }, SYNCED, THAWED };
	g_autoptr(ScriptedAgent) agent = scripted_agent_new(steps,
		G_N_ELEMENTS(steps));
	g_autoptr(UndoList) list = new_list(scripted_agent_path(agent));
	g_autoptr(GError) error = NULL;

	undo_list_thaw(list, PATIENT_MS, &error);
	g_assert_no_error(error);
	g_assert_false(undo_list_has(list, UNDO_THAW));
	g_assert_cmpuint(undo_list_length(list), ==, 3);
	g_assert_true(undo_list_thaw(list, 0, NULL));
}

static void test_limit(void)
{
	g_autoptr(UndoList) list = new_list("/nonexistent/agent");
	g_autoptr(GError) error = NULL;

	g_assert_false(undo_list_thaw(list, 200, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_assert_true(undo_list_has(list, UNDO_THAW));
}

/* A monitor that somebody holds keeps no guest frozen. */
static void test_without_monitor(void)
{
	static const AgentStep agent_steps[] = { SYNCED, THAWED };
	static const ScriptedStep silence[] = { { "", "", .stall = true } };
	g_autoptr(ScriptedAgent) agent = scripted_agent_new(agent_steps,
		G_N_ELEMENTS(agent_steps));
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new("", silence, 1);
	g_autoptr(UndoList) list = undo_list_new("web01", NULL);
	g_autoptr(GError) error = NULL;

	add(list, UNDO_THAW, scripted_agent_path(agent));
	add(list, UNDO_NODE, "a");
	g_assert_false(undo_list_run_at(list,
		&(Monitor){ scripted_qmp_path(peer) }, 100, &error));
	g_assert_error(error, FLEECE_ERROR, ETIMEDOUT);
	g_assert_false(undo_list_has(list, UNDO_THAW));
	g_assert_cmpuint(undo_list_length(list), ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* what is logged here is no failure of the test */
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	g_test_add_func("/undo-thaw/all", test_all);
	g_test_add_func("/undo-thaw/stays", test_stays);
	g_test_add_func("/undo-thaw/until-answered", test_until_answered);
	g_test_add_func("/undo-thaw/limit", test_limit);
	g_test_add_func("/undo-thaw/without-monitor", test_without_monitor);
	return g_test_run();
}
