/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-none.c - what is left of the domains where libvirt was not built in */
#include <errno.h>

#include "domain-agent.h"
#include "domain-checkpoints.h"
#include "domain-fleece.h"
#include "domain-monitor.h"
#include "domain-undo.h"
#include "domain-uri.h"
#include "fleece-error.h"

static void refuse(GError **error)
{
	fleece_set_error(error, ENOTSUP,
		"this fleecefs was built without libvirt");
}

DomainHost *domain_host_new(const char *uri, GError **error)
{
	if (domain_uri_check(uri, error))
		refuse(error);
	return NULL;
}

/* Without a DomainHost nobody comes here. */

void domain_host_free(DomainHost *host)
{
}

void domain_host_start(DomainHost *host, DomainLook *look, void *opaque)
{
}

bool domain_host_wait(DomainHost *host, GError **error)
{
	refuse(error);
	return false;
}

void domain_host_begin_stop(DomainHost *host)
{
}

void domain_host_stop(DomainHost *host)
{
}

void domain_host_wake(DomainHost *host)
{
}

GPtrArray *domain_host_list(DomainHost *host, GError **error)
{
	refuse(error);
	return NULL;
}

VirtHost *domain_host_virt(DomainHost *host)
{
	return NULL;
}

const char *virt_host_uri(const VirtHost *host)
{
	return "";
}

Fleece *domain_fleece_new(const DomainRequest *request, GError **error)
{
	refuse(error);
	return NULL;
}

bool domain_commit(const DomainRequest *request, const Fleece *fleece,
	GError **error)
{
	refuse(error);
	return false;
}

bool domain_is_stuck(DomainHost *host, const char *uuid, bool *answers)
{
	return false;
}

bool domain_scratch_used(DomainHost *host, const char *uuid, uint64_t *used)
{
	return false;
}

bool domain_recover(VirtHost *host, const char *vm, const char *uuid,
	bool force, unsigned timeout_ms, GError **error)
{
	refuse(error);
	return false;
}

bool domain_undo_run(UndoList *list, VirtHost *host, unsigned timeout_ms,
	GError **error)
{
	refuse(error);
	return false;
}

bool domain_undo_run_at(UndoList *list, const char *uri, unsigned timeout_ms,
	GError **error)
{
	refuse(error);
	return false;
}

DomainAgent *domain_agent_new(const char *uri, const char *uuid)
{
	return NULL;
}

void domain_agent_free(DomainAgent *agent)
{
}

bool domain_agent_freeze(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	refuse(error);
	return false;
}

bool domain_agent_thaw(DomainAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error)
{
	refuse(error);
	return false;
}

bool domain_agent_has_refused(const GError *error)
{
	return false;
}

QmpClient *domain_monitor_connect(const char *uri, const char *uuid,
	unsigned timeout_ms, GError **error)
{
	refuse(error);
	return NULL;
}

GPtrArray *domain_checkpoints_read(VirtHost *host, const char *uuid,
	GError **error)
{
	refuse(error);
	return NULL;
}

bool domain_checkpoints_delete(VirtHost *host, const char *uuid,
	const char *chain, gint64 instant_ms, unsigned *deleted,
	GError **error)
{
	refuse(error);
	return false;
}

bool domain_checkpoints_drop_pending(VirtHost *host, const char *vm,
	const char *uuid, GError **error)
{
	refuse(error);
	return false;
}
