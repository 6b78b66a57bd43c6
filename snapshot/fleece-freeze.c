/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-build.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-query.h"

/*
 * How long a guest may be frozen, counted from the command.  Windows thaws by
 * itself after 10 seconds, so what is made later than that is no frozen
 * snapshot; and no guest waits longer for us than this.
 */
#define FREEZE_LIMIT_MS 8000
/* How these are spent: the agent's freezing, then the instant (a pause in it
 * has half a second more for its end), then the thaw. */
#define FREEZE_ANSWER_MS 4500
#define FREEZE_BUDGET_MS 6200
#define THAW_ANSWER_MS 1000
/* What the agent has to answer the questions before. */
#define AGENT_MS 5000
/* What a set-up that is being undone may take beside waiting for a thaw. */
#define UNWIND_LIMIT_MS 60000

static unsigned at_most(const FleeceBuild *build, unsigned limit_ms)
{
	return MIN(build->request->settings->timeout_ms, limit_ms);
}

/* Who lends the monitor has the agent, too. */
static Monitor agent_of(const FleeceBuild *build)
{
	const FleeceRequest *request = build->request;

	return request->monitor->uuid ? *request->monitor :
		(Monitor){ request->settings->agent };
}

static void warn(FleeceBuild *build, const GError *problem)
{
	g_warning("VM %s: %s", build->request->vm, problem->message);
	g_ptr_array_add(build->fleece->warnings, g_strdup(problem->message));
}

/* What is wrong with the freeze: an end to the snapshot, or a warning. */
static bool tolerate(FleeceBuild *build, GError *problem, GError **error)
{
	g_autoptr(GError) owned = problem;

	if (build->request->settings->freeze == FREEZE_REQUIRE) {
		g_propagate_error(error, g_steal_pointer(&owned));
		return false;
	}
	warn(build, owned);
	return true;
}

static bool check_not_frozen(FleeceBuild *build, GError **error)
{
	bool frozen;

	if (!agent_is_frozen(build->agent, at_most(build, AGENT_MS),
		    &frozen, error))
		return false;
	if (frozen)
		fleece_set_error(error, EBUSY, "guest agent %s: the guest is "
			"frozen already, by somebody else",
			agent_of(build).at);
	return !frozen;
}

/* A guest that stands still cannot answer. */
static bool check_running(FleeceBuild *build, GError **error)
{
	g_autofree char *status = NULL;
	bool running;

	if (!qmp_query_status(build->client, &running, &status, error))
		return false;
	if (!running)
		fleece_set_error(error, EBUSY, "the guest does not run (%s)",
			status);
	return running;
}

/* Whether the guest can be frozen: nothing has happened to it yet. */
static bool meet_agent(FleeceBuild *build, GError **error)
{
	const Monitor where = agent_of(build);

	if (build->fleece->plan.daemon) {
		fleece_set_error(error, EOPNOTSUPP, "a storage daemon has no "
			"guest");
		return false;
	}
	if (!check_running(build, error))
		return false;
	build->agent = agent_connect(&where,
		at_most(build, AGENT_MS), error);
	return build->agent && check_not_frozen(build, error);
}

static bool set_state(FleeceBuild *build, const char *agent, GError **error)
{
	Owner *owner = build->owner;

	g_free(owner->agent);
	owner->agent = g_strdup(agent);
	g_free(owner->state);
	owner->state = g_strdup(agent ? "frozen" : "setup");
	return owner_renew(build->client, owner, error);
}

/* Everything that has to be said before the guest may be frozen. */
static bool announce_freeze(FleeceBuild *build, GError **error)
{
	const FleeceRequest *request = build->request;
	const Monitor agent = agent_of(build);

	if (!set_state(build, agent.uuid ? OWNER_LIBVIRT_AGENT : agent.at,
		    error) ||
	    !undo_list_add(request->undo, UNDO_THAW, agent.at, agent.uuid,
		    NULL, &build->freeze_undo, error))
		return false;
	build->frozen_since = g_get_monotonic_time();
	return guardian_window_open(request->guardian, request->undo,
		build->freeze_undo, FREEZE_LIMIT_MS, error);
}

void fleece_extend_freeze(FleeceBuild *build)
{
	const FleeceRequest *request = build->request;

	g_clear_pointer(&build->agent, agent_free);
	if (build->freeze_undo)
		guardian_window_open(request->guardian, request->undo,
			build->freeze_undo,
			request->settings->timeout_ms + UNWIND_LIMIT_MS, NULL);
}

/* Waits for the thaw as long as for anything.  What is not answered by then
 * stays in the list, and the guest is no more in our hands. */
bool fleece_insist_on_thaw(FleeceBuild *build, GError **error)
{
	const FleeceRequest *request = build->request;
	bool thawed;

	fleece_extend_freeze(build);
	thawed = undo_list_thaw(request->undo, request->settings->timeout_ms,
		error);
	if (!thawed)
		guardian_window_close(request->guardian, request->undo,
			build->freeze_undo);
	build->freeze_undo = 0;
	return thawed;
}

static void forget_freeze(FleeceBuild *build)
{
	undo_list_drop(build->request->undo, build->freeze_undo);
	build->freeze_undo = 0;
}

/* Somebody else may have frozen the guest. */
static bool take_refusal(FleeceBuild *build, GError *problem, GError **error)
{
	g_autoptr(GError) owned = problem;

	forget_freeze(build);
	g_clear_pointer(&build->agent, agent_free);
	return set_state(build, NULL, error) &&
		tolerate(build, g_steal_pointer(&owned), error);
}

/* A freeze that failed, or was not answered, may happen all the same. */
static bool give_up(FleeceBuild *build, GError *problem, GError **error)
{
	g_autoptr(GError) still = NULL;

	build->freeze_ends = 0;
	if (agent_has_refused(build->agent, problem))
		return take_refusal(build, problem, error);
	if (build->request->settings->freeze == FREEZE_REQUIRE)
		return tolerate(build, problem, error);
	warn(build, problem);
	g_error_free(problem);
	if (!fleece_insist_on_thaw(build, &still)) {
		warn(build, still);
		return true;
	}
	return set_state(build, NULL, error);
}

bool fleece_freeze(FleeceBuild *build, GError **error)
{
	GError *problem = NULL;
	uint64_t count;

	if (build->request->settings->freeze == FREEZE_NO)
		return true;
	if (!meet_agent(build, &problem)) {
		g_clear_pointer(&build->agent, agent_free);
		g_prefix_error(&problem, "not frozen: ");
		return tolerate(build, problem, error);
	}
	if (!announce_freeze(build, error))
		return false;
	if (!agent_freeze(build->agent, at_most(build, FREEZE_ANSWER_MS),
		    &count, &problem)) {
		g_prefix_error(&problem, "not frozen: ");
		return give_up(build, problem, error);
	}
	build->freeze_ends = build->frozen_since +
		FREEZE_BUDGET_MS * G_TIME_SPAN_MILLISECOND;
	build->fleece->is_frozen = true;
	build->fleece->frozen = count;
	return true;
}

/* Something else thawed them: before the instant, for all we know. */
static bool check_count(FleeceBuild *build, uint64_t thawed, GError **error)
{
	GError *problem = NULL;

	if (thawed >= build->fleece->frozen)
		return true;
	fleece_set_error(&problem, EIO, "guest agent %s: of %" G_GUINT64_FORMAT
		" filesystems frozen only %" G_GUINT64_FORMAT " were left to "
		"be thawed: they may have changed before the instant",
		agent_of(build).at, build->fleece->frozen, thawed);
	return tolerate(build, problem, error);
}

static bool thaw(FleeceBuild *build, GError **error)
{
	GError *problem = NULL;
	uint64_t count;

	if (agent_thaw(build->agent, at_most(build, THAW_ANSWER_MS),
		    &count, NULL)) {
		forget_freeze(build);
		return check_count(build, count, error);
	}
	return fleece_insist_on_thaw(build, &problem) ||
		tolerate(build, problem, error);
}

bool fleece_thaw(FleeceBuild *build, GError **error)
{
	const FleeceRequest *request = build->request;
	bool thawed;

	if (!build->fleece->is_frozen)
		return true;
	build->freeze_ends = 0;
	thawed = thaw(build, error);
	build->fleece->freeze_us = g_get_monotonic_time() -
		build->frozen_since;
	g_clear_pointer(&build->agent, agent_free);
	qmp_client_set_timeout(build->client, request->settings->timeout_ms);
	if (!undo_list_has(request->undo, UNDO_THAW))
		g_clear_pointer(&build->owner->agent, g_free);
	return thawed;
}
