/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-backup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-connect.h"
#include "virt-limit.h"
#include "virt-xml.h"

#define POLL_US (20 * G_TIME_SPAN_MILLISECOND)
/* For the calls beside a wait that has its own limit. */
#define ANSWER_MS 2000
#define SCRATCH_MS 5000

static void append(GString *xml, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* What is put in is escaped. */
static void append(GString *xml, const char *format, ...)
{
	va_list args;
	g_autofree char *text = NULL;

	va_start(args, format);
	text = g_markup_vprintf_escaped(format, args);
	va_end(args);
	g_string_append(xml, text);
}

static void append_backup_disk(GString *xml, const VirtBackup *backup,
	const VirtBackupDisk *disk)
{
	if (!disk->chosen) {
		append(xml, "<disk name='%s' backup='no'/>", disk->target);
		return;
	}
	append(xml, "<disk name='%s' backup='yes' type='file'", disk->target);
	if (disk->base)
		append(xml, " backupmode='incremental' incremental='%s' "
			"exportbitmap='%s'", disk->base, backup->bitmap);
	else
		append(xml, " backupmode='full'");
	append(xml, " exportname='%s'><driver type='qcow2'/>"
		"<scratch file='%s'/></disk>", disk->export, disk->scratch);
}

static void append_server(GString *xml, const VirtBackup *backup)
{
	if (backup->socket)
		append(xml, "<server transport='unix' socket='%s'/>",
			backup->socket);
	else
		append(xml, "<server transport='tcp' tls='yes' name='%s' "
			"port='%u'/>", backup->address, backup->port);
}

static char *backup_xml(const VirtBackup *backup)
{
	GString *xml = g_string_new("<domainbackup mode='pull'>");

	append_server(xml, backup);
	append(xml, "<disks>");
	for (unsigned i = 0; i < backup->n_disks; i++)
		append_backup_disk(xml, backup, &backup->disks[i]);
	append(xml, "</disks></domainbackup>");
	return g_string_free(xml, FALSE);
}

static char *checkpoint_xml(const VirtBackup *backup)
{
	GString *xml = g_string_new("<domaincheckpoint>");

	append(xml, "<name>%s</name><description>%s</description><disks>",
		backup->checkpoint, backup->description);
	for (unsigned i = 0; i < backup->n_disks; i++)
		append(xml, "<disk name='%s' checkpoint='%s'/>",
			backup->disks[i].target,
			backup->disks[i].recorded ? "bitmap" : "no");
	append(xml, "</disks></domaincheckpoint>");
	return g_string_free(xml, FALSE);
}

/* QEMU says it, and libvirt has a code for neither. */
static int code_of_listening(const GError *failure)
{
	static const int codes[] = { EADDRINUSE, EADDRNOTAVAIL };

	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
		if (strstr(failure->message, "'nbd-server-start'") &&
		    strstr(failure->message, g_strerror(codes[i])))
			return codes[i];
	}
	return failure->code;
}

/* a is the job, b the checkpoint. */
static bool begin_with(VirtCall *call, unsigned flags, GError **error)
{
	GError *failure = NULL;

	if (virDomainBackupBegin(call->domain, call->a, call->b, flags) == 0)
		return true;
	virt_fail(&failure, "backup-begin");
	failure->code = code_of_listening(failure);
	g_propagate_error(error, failure);
	return false;
}

static bool begin(VirtCall *call, GError **error)
{
	return begin_with(call, 0, error);
}

static bool begin_with_scratch(VirtCall *call, GError **error)
{
	return begin_with(call, VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL, error);
}

static void abort_late(VirtCall *call)
{
	virDomainAbortJob(call->domain);
}

bool virt_backup_begin(VirtHost *host, const char *uuid,
	const VirtBackup *backup, GError **error)
{
	g_autofree char *job = backup_xml(backup);
	g_autofree char *checkpoint = backup->checkpoint ?
		checkpoint_xml(backup) : NULL;

	VirtDeed deed = { backup->scratch_made ? begin_with_scratch : begin,
		abort_late, job, checkpoint, backup->timeout_ms };

	return virt_act(host, uuid, &deed, NULL, error);
}

void virt_job_free(VirtJob *job)
{
	if (!job)
		return;
	g_free(job->socket);
	g_ptr_array_unref(job->exports);
	g_ptr_array_unref(job->scratch);
	g_free(job);
}

static void add_text(GPtrArray *list, const char *text)
{
	if (text)
		g_ptr_array_add(list, g_strdup(text));
}

static void take_element(void *opaque, const VirtElement *element)
{
	static const char disk[] = "/domainbackup/disks/disk";
	VirtJob *job = opaque;

	if (g_str_equal(element->path, "/domainbackup/server")) {
		g_free(job->socket);
		job->socket = g_strdup(virt_element_get(element, "socket"));
	} else if (g_str_equal(element->path, disk))
		add_text(job->exports, virt_element_get(element,
			"exportname"));
	else if (g_str_equal(element->parent, disk) &&
		g_str_equal(element->name, "scratch"))
		add_text(job->scratch, virt_element_get(element, "file"));
}

static VirtJob *job_parse(const char *xml, GError **error)
{
	g_autoptr(VirtJob) job = g_new0(VirtJob, 1);

	job->exports = g_ptr_array_new_with_free_func(g_free);
	job->scratch = g_ptr_array_new_with_free_func(g_free);
	if (!virt_xml_walk(xml, "domainbackup", take_element, NULL, job,
		    error))
		return NULL;
	return g_steal_pointer(&job);
}

/* libvirt then has a job, but nothing to tell about it ("backup job data
 * missing"). */
static bool is_being_begun(VirtDomainHandle *domain)
{
	virDomainJobInfo job;

	return virDomainGetJobInfo(domain, &job) < 0 &&
		virGetLastErrorCode() == VIR_ERR_INTERNAL_ERROR;
}

bool virt_settle(VirtDomainHandle *domain, unsigned timeout_ms,
	GError **error)
{
	gint64 ends = g_get_monotonic_time() +
		timeout_ms * G_TIME_SPAN_MILLISECOND;

	while (is_being_begun(domain)) {
		if (g_get_monotonic_time() > ends) {
			fleece_set_error(error, EBUSY, "libvirt: a backup job "
				"is being begun, and does not get ready");
			return false;
		}
		g_usleep(POLL_US);
	}
	return true;
}

/* a is how many milliseconds one that is being begun is waited for. */
static bool get_job(VirtCall *call, GError **error)
{
	VirtDomainHandle *domain = call->domain;
	g_autofree char *xml = NULL;

	/* asking about a job that runs would ask QEMU, which may hang */
	xml = virt_text_take(virDomainBackupGetXMLDesc(domain, 0));
	if (!xml && !virt_settle(domain, atoi(call->a), error))
		return false;
	if (!xml)
		xml = virt_text_take(virDomainBackupGetXMLDesc(domain, 0));
	if (!xml)
		return virt_fail(error, "backup job");
	call->answer = job_parse(xml, error);
	return call->answer;
}

VirtJob *virt_backup_job(VirtHost *host, const char *uuid, GError **error)
{
	unsigned timeout = virt_host_timeout(host);
	g_autofree char *limit = g_strdup_printf("%u", timeout);
	const VirtDeed deed = { get_job, .a = limit,
		.timeout_ms = timeout + ANSWER_MS,
		.free_answer = (GDestroyNotify)virt_job_free };
	gpointer job = NULL;

	virt_act(host, uuid, &deed, &job, error);
	return job;
}

/* The answer is the number as text. */
static bool get_scratch(VirtCall *call, GError **error)
{
	virTypedParameterPtr params = NULL;
	unsigned long long used;
	int type, n = 0, found = 0;

	if (virDomainGetJobStats(call->domain, &type, &params, &n, 0) < 0)
		return virt_fail(error, "job");
	found = virTypedParamsGetULLong(params, n,
		VIR_DOMAIN_JOB_DISK_TEMP_USED, &used);
	virTypedParamsFree(params, n);
	if (found == 1)
		call->answer = g_strdup_printf("%llu", used);
	else
		fleece_set_error(error, ENOENT, "libvirt does not say how "
			"much scratch the job takes");
	return call->answer;
}

bool virt_backup_scratch(VirtHost *host, const char *uuid, uint64_t *used,
	GError **error)
{
	const VirtDeed deed = { get_scratch, .timeout_ms = SCRATCH_MS };
	g_autofree gpointer answer = NULL;

	if (!virt_act(host, uuid, &deed, &answer, error))
		return false;
	*used = g_ascii_strtoull(answer, NULL, 10);
	return true;
}

/* Whether no backup runs any more. */
static bool has_ended(VirtDomainHandle *domain)
{
	g_autofree char *xml = virt_text_take(virDomainBackupGetXMLDesc(domain,
		0));

	/* it is not there, or it is off */
	return !xml && (virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_BACKUP ||
		virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ||
		virDomainIsActive(domain) == 0);
}

/* a is how many milliseconds its end is waited for. */
static bool abort_job(VirtCall *call, GError **error)
{
	gint64 ends = g_get_monotonic_time() +
		atoi(call->a) * G_TIME_SPAN_MILLISECOND;

	if (virDomainAbortJob(call->domain) < 0 && !has_ended(call->domain))
		return virt_fail(error, "abort job");
	while (!has_ended(call->domain)) {
		if (g_get_monotonic_time() > ends) {
			fleece_set_error(error, ETIMEDOUT,
				"libvirt: abort job: it does not end");
			return false;
		}
		g_usleep(POLL_US);
	}
	return true;
}

bool virt_backup_abort(VirtHost *host, const char *uuid, GError **error)
{
	unsigned timeout = virt_host_timeout(host);
	g_autofree char *limit = g_strdup_printf("%u", timeout);
	const VirtDeed deed = { abort_job, .a = limit,
		.timeout_ms = timeout + ANSWER_MS };

	return virt_act(host, uuid, &deed, NULL, error);
}
