/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-agent.h"

#include <errno.h>

#include "fleece-error.h"
#include "virt-domain.h"

struct DomainAgent {
	VirtHost *host;
	char *uuid;
};

DomainAgent *domain_agent_new(const char *uri, const char *uuid)
{
	DomainAgent *agent = g_new0(DomainAgent, 1);

	agent->host = virt_host_new(uri, NULL, NULL);
	agent->uuid = g_strdup(uuid);
	return agent;
}

void domain_agent_free(DomainAgent *agent)
{
	virt_host_free(agent->host);
	g_free(agent->uuid);
	g_free(agent);
}

typedef bool Ask(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error);

/* libvirt counts in seconds. */
static bool ask(DomainAgent *agent, Ask *what, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	unsigned n;
	bool done;

	virt_host_set_timeout(agent->host, timeout_ms);
	done = what(agent->host, agent->uuid, MAX(timeout_ms / 1000, 1), &n,
		error);
	*count = n;
	return done;
}

bool domain_agent_freeze(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	return ask(agent, virt_domain_freeze, timeout_ms, count, error);
}

bool domain_agent_thaw(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	return ask(agent, virt_domain_thaw, timeout_ms, count, error);
}

bool domain_agent_has_refused(const GError *error)
{
	return !g_error_matches(error, FLEECE_ERROR, ETIMEDOUT) &&
		!g_error_matches(error, FLEECE_ERROR, ENOTCONN);
}
