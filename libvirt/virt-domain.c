/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-domain.h"

#include <errno.h>
#include <stdlib.h>

#include "fleece-error.h"
#include "virt-connect.h"
#include "virt-limit.h"
#include "virt-xml.h"

#define POLL_US (50 * G_TIME_SPAN_MILLISECOND)
#define NOTE_KEY "fleecefs"
#define NOTE_URI "urn:fleecefs:owner:1"

static void domain_free(VirtDomain *domain)
{
	g_free(domain->uuid);
	g_free(domain->name);
	g_free(domain);
}

static void add_domain(GPtrArray *list, VirtDomainHandle *handle)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	VirtDomain *domain;

	if (virDomainGetUUIDString(handle, uuid) < 0)
		return;
	domain = g_new0(VirtDomain, 1);
	domain->uuid = g_strdup(uuid);
	domain->name = g_strdup(virDomainGetName(handle));
	g_ptr_array_add(list, domain);
}

GPtrArray *virt_domains(VirtHost *host, GError **error)
{
	g_autoptr(VirtConnection) connection = virt_connect(host, error);
	virDomainPtr *handles;
	GPtrArray *list;
	int count;

	if (!connection)
		return NULL;
	count = virConnectListAllDomains(connection, &handles,
		VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	if (count < 0) {
		virt_fail(error, "list of domains");
		return NULL;
	}
	list = g_ptr_array_new_with_free_func((GDestroyNotify)domain_free);
	for (int i = 0; i < count; i++) {
		add_domain(list, handles[i]);
		virDomainFree(handles[i]);
	}
	free(handles);
	return list;
}

static enum virt_state state_of(int state, int reason)
{
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
	case VIR_DOMAIN_PMSUSPENDED:
		return VIRT_STATE_RUNS;
	case VIR_DOMAIN_PAUSED:
		if (reason == VIR_DOMAIN_PAUSED_IOERROR)
			return VIRT_STATE_IO_ERROR;
		return reason == VIR_DOMAIN_PAUSED_USER ? VIRT_STATE_PAUSED :
							  VIRT_STATE_OTHER;
	default:
		return VIRT_STATE_OTHER;
	}
}

bool virt_domain_state(VirtHost *host, const char *uuid,
	enum virt_state *state, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	int now, reason;

	if (!domain)
		return false;
	if (virDomainGetState(domain, &now, &reason, 0) < 0)
		return virt_fail(error, "domain's state");
	if (now == VIR_DOMAIN_SHUTOFF || now == VIR_DOMAIN_CRASHED) {
		fleece_set_error(error, ENOENT, "the domain does not run");
		return false;
	}
	*state = state_of(now, reason);
	return true;
}

static bool suspend(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	return virDomainSuspend(domain) == 0 || virt_fail(error, "suspend");
}

static bool resume(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	return virDomainResume(domain) == 0 || virt_fail(error, "resume");
}

static void resume_late(VirtDomainHandle *domain)
{
	virDomainResume(domain);
}

bool virt_domain_suspend(VirtHost *host, const char *uuid,
	unsigned timeout_ms, GError **error)
{
	const VirtDeed deed = { suspend, resume_late,
		.timeout_ms = timeout_ms };

	return virt_act(host, uuid, &deed, NULL, error);
}

bool virt_domain_resume(VirtHost *host, const char *uuid, unsigned timeout_ms,
	GError **error)
{
	const VirtDeed deed = { resume, .timeout_ms = timeout_ms };

	return virt_act(host, uuid, &deed, NULL, error);
}

bool virt_domain_wait_idle(VirtHost *host, const char *uuid,
	unsigned timeout_ms, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	gint64 ends = g_get_monotonic_time() +
		timeout_ms * G_TIME_SPAN_MILLISECOND;
	virDomainJobInfo job;

	if (!domain)
		return false;
	for (;;) {
		if (virDomainGetJobInfo(domain, &job) < 0)
			return virt_fail(error, "job");
		if (job.type == VIR_DOMAIN_JOB_NONE)
			return true;
		if (g_get_monotonic_time() > ends)
			break;
		g_usleep(POLL_US);
	}
	fleece_set_error(error, EBUSY, "another job keeps the domain");
	return false;
}

char *virt_domain_xml(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	char *text = domain ? virDomainGetXMLDesc(domain, 0) : NULL;

	if (domain && !text)
		virt_fail(error, "domain's XML");
	return virt_text_take(text);
}

unsigned virt_domain_number(VirtHost *host, const char *uuid)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, NULL);
	unsigned number = domain ? virDomainGetID(domain) : 0;

	return number == UINT_MAX ? 0 : number;
}

/* target is a; the answer is the number as text. */
static bool capacity(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	virDomainBlockInfo info;

	if (virDomainGetBlockInfo(domain, a, &info, 0) < 0)
		return virt_fail(error, "size of the disk");
	*answer = g_strdup_printf("%llu", info.capacity);
	return true;
}

bool virt_domain_capacity(VirtHost *host, const char *uuid,
	const char *target, uint64_t *size, GError **error)
{
	const VirtDeed deed = { capacity, .a = target };
	g_autofree char *answer = NULL;

	if (!virt_act(host, uuid, &deed, &answer, error))
		return false;
	*size = g_ascii_strtoull(answer, NULL, 10);
	return true;
}

/* a is how many seconds the agent has; the answer is how many filesystems. */
static bool prepare_agent(VirtDomainHandle *domain, const char *a,
	GError **error)
{
	return virDomainAgentSetResponseTimeout(domain, atoi(a), 0) == 0 ||
		virt_fail(error, "guest agent");
}

static bool freeze(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	int frozen;

	if (!prepare_agent(domain, a, error))
		return false;
	frozen = virDomainFSFreeze(domain, NULL, 0, 0);
	*answer = g_strdup_printf("%d", frozen);
	return frozen >= 0 || virt_fail(error, "freeze");
}

static bool thaw(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	int thawed;

	if (!prepare_agent(domain, a, error))
		return false;
	thawed = virDomainFSThaw(domain, NULL, 0, 0);
	*answer = g_strdup_printf("%d", thawed);
	return thawed >= 0 || virt_fail(error, "thaw");
}

static void thaw_late(VirtDomainHandle *domain)
{
	virDomainFSThaw(domain, NULL, 0, 0);
}

static bool ask_agent(VirtHost *host, const char *uuid, VirtAct *act,
	void (*late)(VirtDomainHandle *domain), unsigned timeout_s,
	unsigned *count, GError **error)
{
	g_autofree char *seconds = g_strdup_printf("%u", timeout_s);
	const VirtDeed deed = { act, late, .a = seconds };
	g_autofree char *answer = NULL;
	bool done = virt_act(host, uuid, &deed, &answer, error);

	*count = done ? atoi(answer) : 0;
	return done;
}

bool virt_domain_freeze(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error)
{
	return ask_agent(host, uuid, freeze, thaw_late, timeout_s, count,
		error);
}

bool virt_domain_thaw(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error)
{
	return ask_agent(host, uuid, thaw, NULL, timeout_s, count, error);
}

/* a is the element; NULL takes it away. */
static bool set_note(VirtDomainHandle *domain, const char *a, const char *b,
	char **answer, GError **error)
{
	return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, a,
		       NOTE_KEY, NOTE_URI, VIR_DOMAIN_AFFECT_LIVE) == 0 ||
		virt_fail(error, "note of the owner");
}

bool virt_domain_set_note(VirtHost *host, const char *uuid, const char *note,
	GError **error)
{
	g_autofree char *element = note ? g_markup_printf_escaped(
		"<owner>%s</owner>", note) : NULL;

	const VirtDeed deed = { set_note, .a = element };

	return virt_act(host, uuid, &deed, NULL, error);
}

static void take_text(void *opaque, const char *path, const char *text)
{
	g_string_append(opaque, text);
}

/* libvirt gives the element as it stands: <owner>TEXT</owner>.  What is none
 * of ours says nothing. */
static char *text_of(const char *element)
{
	GString *text = g_string_new(NULL);

	if (!virt_xml_walk(element, "owner", NULL, take_text, text, NULL))
		g_string_truncate(text, 0);
	return g_string_free(text, FALSE);
}

char *virt_domain_get_note(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	g_autofree char *element = NULL;

	if (!domain)
		return NULL;
	element = virt_text_take(virDomainGetMetadata(domain,
		VIR_DOMAIN_METADATA_ELEMENT, NOTE_URI,
		VIR_DOMAIN_AFFECT_LIVE));
	if (element)
		return text_of(element);
	if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)
		virt_fail(error, "note of the owner");
	return NULL;
}
