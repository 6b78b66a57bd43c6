/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-agent.h - the guest agent of a domain, which libvirt speaks to; for
 * agent.c */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

typedef struct DomainAgent DomainAgent;

/* Does not connect yet. */
DomainAgent *domain_agent_new(const char *uri, const char *uuid);
void domain_agent_free(DomainAgent *agent);

bool domain_agent_freeze(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error);
bool domain_agent_thaw(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error);

/* What was not answered may still be done; anything else was refused. */
bool domain_agent_has_refused(const GError *error);
