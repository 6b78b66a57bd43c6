/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is taken from a domain's XML. */
#include "virt-disk.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

/* --- "vda disk file qcow2 ro shared empty": what is known of each --- */

static void add_disk(GString *text, const VirtDisk *disk)
{
	g_string_append_printf(text, "%s%s %s %s %s%s%s%s",
		text->len ? ", " : "", disk->target, disk->device, disk->kind,
		disk->format, disk->read_only ? " ro" : "",
		disk->shareable ? " shared" : "",
		disk->has_medium ? "" : " empty");
}

static char *describe(const VirtHardware *hardware)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < hardware->disks->len; i++)
		add_disk(text, hardware->disks->pdata[i]);
	if (hardware->iothreads)
		g_string_append(text, " +iothreads");
	if (hardware->agent)
		g_string_append(text, " +agent");
	return g_string_free(text, FALSE);
}

/* What is outside <devices>, then what is in it. */
static char *domain(const char *outside, const char *devices)
{
	return g_strdup_printf("<domain type='kvm' id='1'><name>vm</name>%s"
		"<devices>%s</devices></domain>", outside, devices);
}

static void check(const char *outside, const char *devices,
	const char *expected)
{
	g_autofree char *xml = domain(outside, devices);
	g_autoptr(GError) error = NULL;
	g_autoptr(VirtHardware) hardware = virt_hardware_parse(xml, &error);
	g_autofree char *text = NULL;

	g_assert_no_error(error);
	text = describe(hardware);
	g_assert_cmpstr(text, ==, expected);
}

#define DISK(kind, device, inner) \
	"<disk type='" kind "' device='" device "'>" inner "</disk>"
#define QCOW2 "<driver name='qemu' type='qcow2'/>"
#define SOURCE "<source file='/a'/>"
#define VDA "<target dev='vda' bus='virtio'/>"

typedef struct {
	const char *name, *xml, *expected;
} DiskCase;

static const DiskCase disk_cases[] = {
	{ "none", "", "" },

	/* kinds of sources */
	{ "file", DISK("file", "disk", QCOW2 SOURCE VDA),
		"vda disk file qcow2" },
	{ "block", DISK("block", "disk", "<driver type='raw'/>"
		"<source dev='/dev/vg/a' index='1'/>" VDA),
		"vda disk block raw" },
	{ "network", DISK("network", "disk", QCOW2 "<auth username='u'>"
		"<secret type='ceph' uuid='1'/></auth>"
		"<source protocol='rbd' name='pool/a'><host name='h'/>"
		"<snapshot name='s'/></source>" VDA),
		"vda disk network qcow2" },
	{ "volume", DISK("volume", "disk",
		"<source pool='p' volume='v'/>" VDA), "vda disk volume raw" },
	{ "nvme", DISK("nvme", "disk", "<source type='pci' namespace='1'>"
		"<address domain='0'/></source>" VDA), "vda disk nvme raw" },
	{ "dir", DISK("dir", "disk", "<source dir='/d'/>" VDA),
		"vda disk dir raw" },
	{ "vhostuser", DISK("vhostuser", "disk",
		"<source type='unix' path='/s'/>" VDA),
		"vda disk vhostuser raw" },
	{ "unknown", DISK("hologram", "disk", "<source at='x'/>" VDA),
		"vda disk hologram raw" },
	{ "encrypted", DISK("file", "disk", QCOW2 "<source file='/a'>"
		"<encryption format='luks'><secret/></encryption></source>"
		VDA), "vda disk file qcow2" },

	/* devices */
	{ "lun", DISK("block", "lun", "<source dev='/dev/sda'/>" VDA),
		"vda lun block raw" },
	{ "cdrom", DISK("file", "cdrom", "<source file='/i'/>"
		"<target dev='sda'/><readonly/>"), "sda cdrom file raw ro" },
	{ "cdrom-empty", DISK("file", "cdrom", "<driver name='qemu'/>"
		"<target dev='sda' tray='open'/><readonly/>"),
		"sda cdrom file raw ro empty" },
	{ "floppy", DISK("file", "floppy", SOURCE "<target dev='fda'/>"),
		"fda floppy file raw" },
	{ "no-device", "<disk type='file'>" SOURCE VDA "</disk>",
		"vda disk file raw" },

	/* flags */
	{ "read-only", DISK("file", "disk", SOURCE VDA "<readonly/>"),
		"vda disk file raw ro" },
	{ "shareable", DISK("file", "disk", SOURCE VDA "<shareable/>"),
		"vda disk file raw shared" },
	{ "both", DISK("file", "disk", SOURCE VDA "<readonly/><shareable/>"),
		"vda disk file raw ro shared" },
	{ "transient", DISK("file", "disk", QCOW2 SOURCE VDA
		"<transient shareBacking='yes'/>"), "vda disk file qcow2" },

	/* what is not there, or not as it should be */
	{ "empty", "<disk/>", " disk  raw empty" },
	{ "no-kind", "<disk device='disk'>" SOURCE VDA "</disk>",
		"vda disk  raw" },
	{ "no-target", DISK("file", "disk", SOURCE), " disk file raw" },
	{ "target-without-dev", DISK("file", "disk", SOURCE
		"<target bus='virtio'/>"), " disk file raw" },
	{ "driver-without-type", DISK("file", "disk", SOURCE VDA
		"<driver name='qemu'/>"), "vda disk file raw" },
	{ "driver-twice", DISK("file", "disk", SOURCE VDA QCOW2
		"<driver name='qemu'/>"), "vda disk file qcow2" },
	{ "target-twice", DISK("file", "disk", SOURCE VDA
		"<target dev='vdb'/>"), "vdb disk file raw" },
	{ "duplicated", DISK("file", "disk", SOURCE VDA)
		DISK("block", "disk", VDA),
		"vda disk file raw, vda disk block raw empty" },
	{ "order", DISK("file", "disk", "<target dev='vdb'/>" SOURCE)
		DISK("file", "disk", VDA) DISK("file", "disk", SOURCE
		"<target dev='hda'/>"), "vdb disk file raw, "
		"vda disk file raw empty, hda disk file raw" },

	/* strange characters */
	{ "escaped", DISK("file", "disk", SOURCE
		"<target dev='&lt;a&gt;&amp;&apos;&quot;'/>"),
		"<a>&'\" disk file raw" },
	{ "path", DISK("file", "disk", SOURCE "<target dev='../../etc'/>"),
		"../../etc disk file raw" },
	{ "utf8", DISK("file", "disk", SOURCE "<target dev='d\xc3\xbc'/>"),
		"d\xc3\xbc disk file raw" },
	{ "newline", DISK("file", "disk", SOURCE "<target dev='a&#10;b'/>"),
		"a\nb disk file raw" },

	/* what is another disk's, or not a disk of the domain's */
	{ "flags-do-not-stay", DISK("file", "disk", QCOW2 SOURCE VDA
		"<readonly/><shareable/>") DISK("file", "disk",
		"<target dev='vdb'/>"),
		"vda disk file qcow2 ro shared, vdb disk file raw empty" },
	{ "backing", DISK("file", "disk", QCOW2 SOURCE
		"<backingStore type='block'><format type='raw'/>"
		"<source dev='/b'/><target dev='vdz'/><readonly/>"
		"<shareable/><driver type='raw'/><backingStore/>"
		"</backingStore>" VDA), "vda disk file qcow2" },
	{ "backing-of-nothing", DISK("file", "disk",
		"<backingStore><source file='/b'/></backingStore>" VDA),
		"vda disk file raw empty" },
	{ "mirror", DISK("file", "disk", QCOW2 SOURCE "<mirror type='file' "
		"job='copy'><format type='raw'/><source file='/m'/>"
		"<driver type='raw'/></mirror>" VDA), "vda disk file qcow2" },
	{ "nested-disk", DISK("file", "disk", SOURCE VDA
		DISK("file", "disk", "<target dev='vdz'/>")),
		"vda disk file raw" },
	{ "similar", "<disks><disk/></disks><diskette/>"
		"<filesystem><source dir='/'/><target dir='t'/></filesystem>"
		"<interface><target dev='vnet0'/></interface>", "" },
};

static void test_disk(gconstpointer data)
{
	const DiskCase *this = data;

	check("", this->xml, this->expected);
}

/* --- where its bytes are: "/a > qcow2 /b > raw /c .": '.' is the end --- */

static char *describe_layers(const VirtDisk *disk)
{
	GString *text = g_string_new(disk->path ? disk->path : "-");

	for (guint i = 0; i < disk->backing->len; i++) {
		const VirtLayer *layer = disk->backing->pdata[i];

		g_string_append_printf(text, " > %s %s %s", layer->kind,
			layer->format, layer->path ? layer->path : "-");
	}
	if (disk->ends)
		g_string_append(text, " .");
	if (disk->special)
		g_string_append_printf(text, " %s", disk->special);
	return g_string_free(text, FALSE);
}

#define LAYER(kind, inner) "<backingStore type='" kind "'>" inner \
	"</backingStore>"
#define END "<backingStore/>"
#define FORMAT(name) "<format type='" name "'/>"

static const DiskCase layer_cases[] = {
	{ "file", SOURCE VDA, "/a" },
	{ "block", "<source dev='/dev/a'/>" VDA, "/dev/a" },
	{ "network", "<source protocol='rbd' name='pool/a'/>" VDA, "-" },
	{ "volume", "<source pool='p' volume='v'/>" VDA, "-" },
	{ "none", VDA, "-" },
	{ "end", SOURCE END VDA, "/a ." },
	{ "one", SOURCE LAYER("file", FORMAT("qcow2")
		"<source file='/b'/>") VDA, "/a > file qcow2 /b" },
	{ "two-and-end", LAYER("file", FORMAT("qcow2") "<source file='/b'/>"
		LAYER("block", FORMAT("raw") "<source dev='/c'/>" END))
		SOURCE VDA, "/a > file qcow2 /b > block raw /c ." },
	{ "deepest-first", SOURCE LAYER("file", LAYER("file",
		FORMAT("raw") "<source file='/c'/>") FORMAT("qcow2")
		"<source file='/b'/>"), "/a > file qcow2 /b > file raw /c" },
	{ "network-below", SOURCE LAYER("network", FORMAT("qcow2")
		"<source protocol='nbd' name='b'/>"),
		"/a > network qcow2 -" },
	{ "twice", SOURCE LAYER("file", "<source file='/b'/>")
		LAYER("file", "<source file='/c'/>"), "/a > file raw /c" },
	{ "in-nothing", SOURCE "<backingStore><source file='/b'/>"
		"</backingStore>", "/a ." },
	{ "of-a-mirror", SOURCE "<mirror type='file'><source file='/m'/>"
		LAYER("file", "<source file='/b'/>") "</mirror>", "/a" },
	{ "encrypted", "<source file='/a'><encryption format='luks'/>"
		"</source>", "/a encryption" },
	{ "encrypted-old", SOURCE "<encryption format='qcow'/>",
		"/a encryption" },
	{ "slice", "<source file='/a'><slices><slice type='storage'/>"
		"</slices></source>", "/a slices" },
	{ "slice-below", SOURCE LAYER("file", "<source file='/b'><slices/>"
		"</source>"), "/a > file raw /b slices" },
};

static void test_layers(gconstpointer data)
{
	const DiskCase *this = data;
	g_autofree char *disk = g_strdup_printf(DISK("file", "disk", "%s"),
		this->xml);
	g_autofree char *xml = domain("", disk);
	g_autoptr(VirtHardware) hardware = virt_hardware_parse(xml, NULL);
	g_autofree char *text = NULL;

	g_assert_nonnull(hardware);
	text = describe_layers(hardware->disks->pdata[0]);
	g_assert_cmpstr(text, ==, this->expected);
}

/* A disk elsewhere is what a backup, or somebody's note, says. */
static void test_elsewhere(void)
{
	check("<disk/><metadata><domain><devices><disk type='file'/></devices>"
		"</domain></metadata>", "", "");
	check("<metadata><q:iothreads/></metadata><cputune>"
		"<iothreadpin iothread='1'/></cputune>", "<iothreads/>", "");
}

/* --- the rest --- */

static void test_iothreads(void)
{
	check("<iothreads>1</iothreads>", "", " +iothreads");
	check("<iothreads>2</iothreads><iothreadids/>",
		DISK("file", "disk", VDA),
		"vda disk file raw empty +iothreads");
	check("<iothreadids/>", "", "");
}

#define CHANNEL(attributes) \
	"<channel type='unix'><source path='/s'/><target type='virtio' " \
	attributes "/></channel>"
#define AGENT "name='org.qemu.guest_agent.0'"

static void test_agent(void)
{
	check("", CHANNEL(AGENT " state='connected'"), " +agent");
	check("", CHANNEL(AGENT " state='disconnected'"), "");
	check("", CHANNEL(AGENT), "");
	check("", CHANNEL("state='connected'"), "");
	check("", CHANNEL("name='com.redhat.spice.0' state='connected'"), "");
	check("", CHANNEL(AGENT " state='connected'")
		CHANNEL("name='com.redhat.spice.0'"), " +agent");
	check("", "<console><target " AGENT " state='connected'/></console>",
		"");
}

/* --- what is refused --- */

static void check_refused(const char *xml)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(virt_hardware_parse(xml, &error));
	g_assert_error(error, FLEECE_ERROR, EPROTO);
	g_assert_null(virt_hardware_parse(xml, NULL));
}

static void test_refused(void)
{
	static const char *const cases[] = { "", "domain", "<domainbackup/>",
		"<domain>", "<a><domain/></a>", "<domain/><domain/>",
		"<domain><devices></domain></devices>",
		"<domain><devices><disk device=disk/></devices></domain>",
		"<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"
		"<domain><devices><disk><target dev='&e;'/></disk></devices>"
		"</domain>" };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		check_refused(cases[i]);
}

static void test_truncated(void)
{
	g_autofree char *whole = domain("<iothreads>1</iothreads>",
		DISK("file", "disk", QCOW2 SOURCE VDA "<readonly/>")
		CHANNEL(AGENT " state='connected'"));

	for (size_t length = 0; length < strlen(whole); length++) {
		g_autofree char *part = g_strndup(whole, length);

		check_refused(part);
	}
}

/* As many disks as no domain has, each on as long a chain. */
static void test_huge(void)
{
	enum { DISKS = 500, LAYERS = 100 };
	GString *xml = g_string_new("<domain><devices>");
	g_autoptr(VirtHardware) hardware = NULL;

	for (int i = 0; i < DISKS; i++) {
		g_string_append_printf(xml, "<disk type='file'><source/>"
			"<target dev='vd%d'/>", i);
		for (int layer = 0; layer < LAYERS; layer++)
			g_string_append(xml, "<backingStore><source/>");
		for (int layer = 0; layer < LAYERS; layer++)
			g_string_append(xml, "</backingStore>");
		g_string_append(xml, "</disk>");
	}
	g_string_append(xml, "</devices></domain>");
	hardware = virt_hardware_parse(xml->str, NULL);
	g_string_free(xml, TRUE);
	g_assert_nonnull(hardware);
	g_assert_cmpuint(hardware->disks->len, ==, DISKS);
	for (int i = 0; i < DISKS; i++) {
		const VirtDisk *disk = hardware->disks->pdata[i];
		g_autofree char *target = g_strdup_printf("vd%d", i);

		g_assert_cmpstr(disk->target, ==, target);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(disk_cases); i++) {
		g_autofree char *path = g_strconcat("/virt-disk/disk/",
			disk_cases[i].name, NULL);

		g_test_add_data_func(path, &disk_cases[i], test_disk);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(layer_cases); i++) {
		g_autofree char *path = g_strconcat("/virt-disk/layers/",
			layer_cases[i].name, NULL);

		g_test_add_data_func(path, &layer_cases[i], test_layers);
	}
	g_test_add_func("/virt-disk/elsewhere", test_elsewhere);
	g_test_add_func("/virt-disk/iothreads", test_iothreads);
	g_test_add_func("/virt-disk/agent", test_agent);
	g_test_add_func("/virt-disk/refused", test_refused);
	g_test_add_func("/virt-disk/truncated", test_truncated);
	g_test_add_func("/virt-disk/huge", test_huge);
	return g_test_run();
}
