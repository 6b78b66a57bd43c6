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

static bool list(VirtCall *call, GError **error)
{
	virDomainPtr *handles;
	GPtrArray *domains;
	int count = virConnectListAllDomains(call->connection, &handles, 0);

	if (count < 0)
		return virt_fail(error, "list of domains");
	domains = g_ptr_array_new_with_free_func((GDestroyNotify)domain_free);
	for (int i = 0; i < count; i++) {
		add_domain(domains, handles[i]);
		virDomainFree(handles[i]);
	}
	free(handles);
	call->answer = domains;
	return true;
}

GPtrArray *virt_domains(VirtHost *host, GError **error)
{
	const VirtDeed deed = { list,
		.free_answer = (GDestroyNotify)g_ptr_array_unref };
	gpointer domains = NULL;

	virt_act(host, NULL, &deed, &domains, error);
	return domains;
}

static bool is_off(VirtCall *call, GError **error)
{
	int active = virDomainIsActive(call->domain);
	bool off = active == 0;

	call->answer = g_memdup2(&off, sizeof off);
	return active >= 0 || virt_fail(error, "domain's state");
}

bool virt_domain_is_off(VirtHost *host, const char *uuid, bool *off,
	GError **error)
{
	const VirtDeed deed = { is_off };
	g_autofree gpointer answer = NULL;

	if (!virt_act(host, uuid, &deed, &answer, error))
		return false;
	*off = *(bool *)answer;
	return true;
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

static bool state(VirtCall *call, GError **error)
{
	enum virt_state found;
	int now, reason;

	if (virDomainGetState(call->domain, &now, &reason, 0) < 0)
		return virt_fail(error, "domain's state");
	if (now == VIR_DOMAIN_SHUTOFF || now == VIR_DOMAIN_CRASHED) {
		fleece_set_error(error, ENOENT, "the domain does not run");
		return false;
	}
	found = state_of(now, reason);
	call->answer = g_memdup2(&found, sizeof found);
	return true;
}

bool virt_domain_state(VirtHost *host, const char *uuid,
	enum virt_state *found, GError **error)
{
	const VirtDeed deed = { state };
	g_autofree gpointer answer = NULL;

	if (!virt_act(host, uuid, &deed, &answer, error))
		return false;
	*found = *(enum virt_state *)answer;
	return true;
}

static bool suspend(VirtCall *call, GError **error)
{
	return virDomainSuspend(call->domain) == 0 ||
		virt_fail(error, "suspend");
}

static bool resume(VirtCall *call, GError **error)
{
	return virDomainResume(call->domain) == 0 || virt_fail(error, "resume");
}

static void resume_late(VirtCall *call)
{
	virDomainResume(call->domain);
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

/* a is how many milliseconds it may take. */
static bool wait_idle(VirtCall *call, GError **error)
{
	gint64 ends = g_get_monotonic_time() +
		atoi(call->a) * G_TIME_SPAN_MILLISECOND;
	virDomainJobInfo job;

	for (;;) {
		if (virDomainGetJobInfo(call->domain, &job) < 0)
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

bool virt_domain_wait_idle(VirtHost *host, const char *uuid,
	unsigned timeout_ms, GError **error)
{
	g_autofree char *limit = g_strdup_printf("%u", timeout_ms);
	const VirtDeed deed = { wait_idle, .a = limit,
		.timeout_ms = timeout_ms + virt_host_timeout(host) };

	return virt_act(host, uuid, &deed, NULL, error);
}

/* That of a backup job that runs is had by nobody, and asking about it would
 * ask QEMU, which may hang. */
static bool check_lock(VirtCall *call, GError **error)
{
	g_autofree char *backup = virt_text_take(virDomainBackupGetXMLDesc(
		call->domain, 0));
	virDomainJobInfo job;

	return backup || virDomainGetJobInfo(call->domain, &job) == 0 ||
		virGetLastErrorCode() != VIR_ERR_OPERATION_TIMEOUT ||
		virt_fail(error, "job");
}

bool virt_domain_check_lock(VirtHost *host, const char *uuid, GError **error)
{
	const VirtDeed deed = { check_lock };

	return virt_act(host, uuid, &deed, NULL, error);
}

static bool get_xml(VirtCall *call, GError **error)
{
	call->answer = virt_text_take(virDomainGetXMLDesc(call->domain, 0));
	return call->answer || virt_fail(error, "domain's XML");
}

char *virt_domain_xml(VirtHost *host, const char *uuid, GError **error)
{
	const VirtDeed deed = { get_xml };
	gpointer text = NULL;

	virt_act(host, uuid, &deed, &text, error);
	return text;
}

static bool number(VirtCall *call, GError **error)
{
	unsigned found = virDomainGetID(call->domain);

	call->answer = g_memdup2(&found, sizeof found);
	return true;
}

unsigned virt_domain_number(VirtHost *host, const char *uuid)
{
	const VirtDeed deed = { number };
	g_autofree gpointer answer = NULL;
	unsigned found;

	if (!virt_act(host, uuid, &deed, &answer, NULL))
		return 0;
	found = *(unsigned *)answer;
	return found == UINT_MAX ? 0 : found;
}

/* target is a; the answer is the number as text. */
static bool capacity(VirtCall *call, GError **error)
{
	virDomainBlockInfo info;

	if (virDomainGetBlockInfo(call->domain, call->a, &info, 0) < 0)
		return virt_fail(error, "size of the disk");
	call->answer = g_strdup_printf("%llu", info.capacity);
	return true;
}

bool virt_domain_capacity(VirtHost *host, const char *uuid,
	const char *target, uint64_t *size, GError **error)
{
	const VirtDeed deed = { capacity, .a = target };
	g_autofree gpointer answer = NULL;

	if (!virt_act(host, uuid, &deed, &answer, error))
		return false;
	*size = g_ascii_strtoull(answer, NULL, 10);
	return true;
}

/* a is how many seconds the agent has; the answer is how many filesystems. */
static bool prepare_agent(VirtCall *call, GError **error)
{
	return virDomainAgentSetResponseTimeout(call->domain, atoi(call->a),
		       0) == 0 || virt_fail(error, "guest agent");
}

/* It is the domain's, not the call's, and whoever speaks to the agent next
 * would have no more time.  libvirt does not tell what it was: this is what a
 * domain begins with. */
static void leave_agent(VirtCall *call)
{
	virDomainAgentSetResponseTimeout(call->domain,
		VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0);
}

/* A thaw follows where it is frozen. */
static bool freeze(VirtCall *call, GError **error)
{
	int frozen;

	if (!prepare_agent(call, error))
		return false;
	frozen = virDomainFSFreeze(call->domain, NULL, 0, 0);
	call->answer = g_strdup_printf("%d", frozen);
	if (frozen >= 0)
		return true;
	virt_fail(error, "freeze");
	leave_agent(call);
	return false;
}

static bool thaw(VirtCall *call, GError **error)
{
	int thawed;

	if (!prepare_agent(call, error))
		return false;
	thawed = virDomainFSThaw(call->domain, NULL, 0, 0);
	call->answer = g_strdup_printf("%d", thawed);
	if (thawed < 0)
		virt_fail(error, "thaw");
	leave_agent(call);
	return thawed >= 0;
}

static void thaw_late(VirtCall *call)
{
	virDomainFSThaw(call->domain, NULL, 0, 0);
	leave_agent(call);
}

static bool ask_agent(VirtHost *host, const char *uuid, VirtAct *act,
	void (*late)(VirtCall *call), unsigned timeout_s,
	unsigned *count, GError **error)
{
	g_autofree char *seconds = g_strdup_printf("%u", timeout_s);
	const VirtDeed deed = { act, late, .a = seconds };
	g_autofree gpointer answer = NULL;
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
static bool set_note(VirtCall *call, GError **error)
{
	return virDomainSetMetadata(call->domain,
		       VIR_DOMAIN_METADATA_ELEMENT, call->a,
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

/* No answer: there is none. */
static bool get_note(VirtCall *call, GError **error)
{
	g_autofree char *element = virt_text_take(virDomainGetMetadata(
		call->domain, VIR_DOMAIN_METADATA_ELEMENT, NOTE_URI,
		VIR_DOMAIN_AFFECT_LIVE));

	if (element)
		call->answer = text_of(element);
	return element ||
		virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA ||
		virt_fail(error, "note of the owner");
}

char *virt_domain_get_note(VirtHost *host, const char *uuid, GError **error)
{
	const VirtDeed deed = { get_note };
	gpointer text = NULL;

	virt_act(host, uuid, &deed, &text, error);
	return text;
}
