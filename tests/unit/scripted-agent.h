/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scripted-agent.h - a guest agent that plays a script
 *
 * A thread behind a unix socket in a folder of its own.  It serves one
 * connection after the other and goes through the script whoever asks: a
 * command that the script does not have next, and a step that is never
 * reached, fail the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#define SYNC "guest-sync-delimited"
#define STATUS "guest-fsfreeze-status"
#define FREEZE "guest-fsfreeze-freeze"
#define THAW "guest-fsfreeze-thaw"

/* The good beginning of a conversation. */
#define SYNCED { SYNC, "\xff{\"return\": %ID%}\n" }
#define AGENT_REFUSES(desc)                                                    \
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"" desc "\"}}\n"

typedef struct {
	const char *command;
	const char *reply; /* "%ID%" is that of the sync; NULL: silence */
	bool dribble;      /* byte by byte */
	bool hang_up;      /* afterwards; the next step is for another client */
} AgentStep;

typedef struct ScriptedAgent ScriptedAgent;

/* Listens and starts the thread.  The steps have to outlive it. */
ScriptedAgent *scripted_agent_new(const AgentStep *steps, size_t n_steps);

/* Ends with the test failed where steps are left.  The clients have to be
 * closed already. */
void scripted_agent_free(ScriptedAgent *agent);

const char *scripted_agent_path(const ScriptedAgent *agent);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ScriptedAgent, scripted_agent_free)
