/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent.h"

#include "domain-agent.h"
#include "guest-agent.h"

struct Agent {
	GuestAgent *own;     /* at its socket; or NULL, and */
	DomainAgent *domain; /* libvirt's */
};

Agent *agent_connect(const Monitor *where, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(Agent) agent = g_new0(Agent, 1);

	if (where->uuid)
		agent->domain = domain_agent_new(where->at, where->uuid);
	else
		agent->own = guest_agent_connect(where->at, timeout_ms, error);
	return agent->own || agent->domain ? g_steal_pointer(&agent) : NULL;
}

void agent_free(Agent *agent)
{
	if (!agent)
		return;
	g_clear_pointer(&agent->own, guest_agent_free);
	g_clear_pointer(&agent->domain, domain_agent_free);
	g_free(agent);
}

bool agent_is_frozen(Agent *agent, unsigned timeout_ms, bool *frozen,
	GError **error)
{
	*frozen = false;
	return agent->domain || guest_agent_is_frozen(agent->own, timeout_ms,
		frozen, error);
}

bool agent_freeze(Agent *agent, unsigned timeout_ms, uint64_t *count,
	GError **error)
{
	return agent->domain ?
		domain_agent_freeze(agent->domain, timeout_ms, count, error) :
		guest_agent_freeze(agent->own, timeout_ms, count, error);
}

bool agent_thaw(Agent *agent, unsigned timeout_ms, uint64_t *count,
	GError **error)
{
	return agent->domain ?
		domain_agent_thaw(agent->domain, timeout_ms, count, error) :
		guest_agent_thaw(agent->own, timeout_ms, count, error);
}

bool agent_has_refused(const Agent *agent, const GError *error)
{
	return agent->domain && domain_agent_has_refused(error);
}

bool agent_thaw_at(const Monitor *where, unsigned timeout_ms, uint64_t *count,
	GError **error)
{
	g_autoptr(Agent) agent = NULL;

	if (!where->uuid)
		return guest_agent_thaw_at(where->at, timeout_ms, count, error);
	agent = agent_connect(where, timeout_ms, error);
	return agent && agent_thaw(agent, timeout_ms, count, error);
}
