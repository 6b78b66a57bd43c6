/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-domain.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-connect.h"

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

bool virt_domain_suspend(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);

	if (!domain)
		return false;
	return virDomainSuspend(domain) == 0 || virt_fail(error, "suspend");
}

bool virt_domain_resume(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);

	if (!domain)
		return false;
	return virDomainResume(domain) == 0 || virt_fail(error, "resume");
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

bool virt_domain_capacity(VirtHost *host, const char *uuid,
	const char *target, uint64_t *size, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	virDomainBlockInfo info;

	if (!domain)
		return false;
	if (virDomainGetBlockInfo(domain, target, &info, 0) < 0)
		return virt_fail(error, "size of the disk");
	*size = info.capacity;
	return true;
}

static VirtDomainHandle *with_agent(VirtHost *host, const char *uuid,
	unsigned timeout_s, GError **error)
{
	VirtDomainHandle *domain = virt_lookup(host, uuid, error);

	if (!domain ||
	    virDomainAgentSetResponseTimeout(domain, timeout_s, 0) == 0)
		return domain;
	virt_fail(error, "guest agent");
	virDomainFree(domain);
	return NULL;
}

bool virt_domain_freeze(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = with_agent(host, uuid, timeout_s,
		error);
	int frozen = domain ? virDomainFSFreeze(domain, NULL, 0, 0) : -1;

	if (domain && frozen < 0)
		virt_fail(error, "freeze");
	*count = MAX(frozen, 0);
	return frozen >= 0;
}

bool virt_domain_thaw(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error)
{
	g_autoptr(VirtDomainHandle) domain = with_agent(host, uuid, timeout_s,
		error);
	int thawed = domain ? virDomainFSThaw(domain, NULL, 0, 0) : -1;

	if (domain && thawed < 0)
		virt_fail(error, "thaw");
	*count = MAX(thawed, 0);
	return thawed >= 0;
}

bool virt_domain_set_note(VirtHost *host, const char *uuid, const char *note,
	GError **error)
{
	g_autoptr(VirtDomainHandle) domain = virt_lookup(host, uuid, error);
	g_autofree char *element = note ? g_markup_printf_escaped(
		"<owner>%s</owner>", note) : NULL;

	if (!domain)
		return false;
	return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
		       element, NOTE_KEY, NOTE_URI,
		       VIR_DOMAIN_AFFECT_LIVE) == 0 ||
		virt_fail(error, "note of the owner");
}

/* libvirt gives the element as it stands: <owner>TEXT</owner>. */
static char *text_of(const char *element)
{
	const char *begin = strchr(element, '>');
	const char *end = begin ? strchr(begin, '<') : NULL;

	return end ? g_strndup(begin + 1, end - begin - 1) : g_strdup("");
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
