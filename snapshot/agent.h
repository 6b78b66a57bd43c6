/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent.h - the guest's agent, at its socket or through libvirt
 *
 * libvirt has the agent's channel of each of its domains; there, nobody can
 * be asked whether the guest is frozen, but a freeze of one that is frozen is
 * refused.
 *
 * Conventions as in guest-agent.h; through libvirt, refusals are the errors of
 * virt-host.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "monitor.h"

typedef struct Agent Agent;

/* where is the agent's socket, or the domain. */
Agent *agent_connect(const Monitor *where, unsigned timeout_ms,
	GError **error);
void agent_free(Agent *agent);

bool agent_is_frozen(Agent *agent, unsigned timeout_ms, bool *frozen,
	GError **error);
bool agent_freeze(Agent *agent, unsigned timeout_ms, uint64_t *count,
	GError **error);
bool agent_thaw(Agent *agent, unsigned timeout_ms, uint64_t *count,
	GError **error);

/* Whether a freeze that failed so has not happened, and never will. */
bool agent_has_refused(const Agent *agent, const GError *error);

/* Thaws over a connection of its own. */
bool agent_thaw_at(const Monitor *where, unsigned timeout_ms, uint64_t *count,
	GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Agent, agent_free)
