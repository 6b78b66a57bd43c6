/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML of a domain, a checkpoint and a job: what is understood says the same
 * when it is written as XML again.  Of a checkpoint nothing but its
 * description is ever changed.
 */
#include "virt-backup.h"
#include "virt-checkpoint.h"
#include "virt-disk.h"

#include "fake-libvirt.h"
#include "fuzz.h"

#define DESCRIPTION "fleecefs committed vda=1"

static void add(GString *xml, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* What is put in is escaped. */
static void add(GString *xml, const char *format, ...)
{
	va_list args;
	g_autofree char *text = NULL;

	va_start(args, format);
	text = g_markup_vprintf_escaped(format, args);
	va_end(args);
	g_string_append(xml, text);
}

/* --- a domain --- */

static void write_disk(GString *xml, const VirtDisk *disk)
{
	add(xml, "<disk type='%s' device='%s'><driver type='%s'/>"
		"<target dev='%s'/>", disk->kind, disk->device, disk->format,
		disk->target);
	if (disk->has_medium)
		add(xml, "<source/>");
	if (disk->read_only)
		add(xml, "<readonly/>");
	if (disk->shareable)
		add(xml, "<shareable/>");
	add(xml, "</disk>");
}

static char *write_domain(const VirtHardware *hardware)
{
	GString *xml = g_string_new("<domain>");

	if (hardware->iothreads)
		add(xml, "<iothreads>1</iothreads>");
	add(xml, "<devices>");
	for (guint i = 0; i < hardware->disks->len; i++)
		write_disk(xml, hardware->disks->pdata[i]);
	if (hardware->agent)
		add(xml, "<channel><target name='org.qemu.guest_agent.0' "
			"state='connected'/></channel>");
	add(xml, "</devices></domain>");
	return g_string_free(xml, FALSE);
}

static void try_domain(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(VirtHardware) hardware = virt_hardware_parse(text, &error);
	g_autoptr(VirtHardware) again = NULL;
	g_autofree char *xml = NULL;
	g_autofree char *other = NULL;

	fuzz_assert_told(hardware, error);
	if (!hardware)
		return;
	xml = write_domain(hardware);
	again = virt_hardware_parse(xml, NULL);
	g_assert_nonnull(again);
	other = write_domain(again);
	g_assert_cmpstr(xml, ==, other);
}

/* --- a checkpoint --- */

static VirtCheckpoint *read_checkpoint(VirtHost *host, const char *text)
{
	g_autoptr(GError) error = NULL;
	VirtCheckpoint *checkpoint;

	fake_libvirt.checkpoint = text;
	checkpoint = virt_checkpoint_find(host, "", "", &error);
	fuzz_assert_told(checkpoint, error);
	return checkpoint;
}

static char *write_checkpoint(const VirtCheckpoint *checkpoint,
	const char *description)
{
	GString *xml = g_string_new("<domaincheckpoint>");

	add(xml, "<description>%s</description><disks>", description);
	for (guint i = 0; i < checkpoint->disks->len; i++)
		add(xml, "<disk name='%s' checkpoint='bitmap'/>",
			(const char *)checkpoint->disks->pdata[i]);
	add(xml, "</disks></domaincheckpoint>");
	return g_string_free(xml, FALSE);
}

/* That text is a checkpoint like that one, but with this description. */
static void assert_like(VirtHost *host, const VirtCheckpoint *one,
	const char *description, const char *text)
{
	g_autofree char *expected = write_checkpoint(one, description);
	g_autoptr(VirtCheckpoint) read = read_checkpoint(host, text);
	g_autofree char *xml = NULL;

	g_assert_nonnull(read);
	xml = write_checkpoint(read, read->description);
	g_assert_cmpstr(xml, ==, expected);
}

/* A text is the same with a comment in it. */
static void try_pieces(VirtHost *host, const VirtCheckpoint *one)
{
	g_autofree char *more = g_strconcat(one->description, "x", NULL);
	g_autofree char *xml = write_checkpoint(one, more);
	g_auto(GStrv) halves = g_strsplit(xml, "x</description>", 2);
	g_autofree char *text = g_strjoin(NULL, halves[0],
		"<!-- -->x</description>", halves[1], NULL);

	assert_like(host, one, more, text);
}

static void try_checkpoint(VirtHost *host, const char *text)
{
	g_autoptr(VirtCheckpoint) one = read_checkpoint(host, text);
	g_autoptr(GError) error = NULL;
	g_autofree char *redefined = NULL;
	g_autofree char *xml = NULL;
	bool described = virt_checkpoint_describe(host, "", "", DESCRIPTION,
		&error);

	fuzz_assert_told(described, error);
	redefined = g_steal_pointer(&fake_libvirt.redefined);
	g_assert_true(described == !!redefined);
	if (!one)
		return;
	xml = write_checkpoint(one, one->description);
	assert_like(host, one, one->description, xml);
	try_pieces(host, one);
	if (described)
		assert_like(host, one, DESCRIPTION, redefined);
}

/* --- a job --- */

static char *write_job(const VirtJob *job)
{
	GString *xml = g_string_new("<domainbackup>");

	if (job->socket)
		add(xml, "<server socket='%s'/>", job->socket);
	add(xml, "<disks>");
	for (guint i = 0; i < job->exports->len; i++)
		add(xml, "<disk exportname='%s'/>",
			(const char *)job->exports->pdata[i]);
	for (guint i = 0; i < job->scratch->len; i++)
		add(xml, "<disk><scratch file='%s'/></disk>",
			(const char *)job->scratch->pdata[i]);
	add(xml, "</disks></domainbackup>");
	return g_string_free(xml, FALSE);
}

static VirtJob *read_job(VirtHost *host, const char *text)
{
	g_autoptr(GError) error = NULL;
	VirtJob *job;

	fake_libvirt.job = text;
	job = virt_backup_job(host, "", &error);
	fuzz_assert_told(job, error);
	return job;
}

static void try_job(VirtHost *host, const char *text)
{
	g_autoptr(VirtJob) job = read_job(host, text);
	g_autoptr(VirtJob) again = NULL;
	g_autofree char *xml = NULL;
	g_autofree char *other = NULL;

	if (!job)
		return;
	xml = write_job(job);
	again = read_job(host, xml);
	g_assert_nonnull(again);
	other = write_job(again);
	g_assert_cmpstr(xml, ==, other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static VirtHost *host; /* a connection costs a thread */
	FuzzInput in = { data, size };
	g_autofree char *text = fuzz_text(&in);

	if (!host)
		host = virt_host_new("fake:///", NULL, NULL);
	try_domain(text);
	try_checkpoint(host, text);
	try_job(host, text);
	return 0;
}
