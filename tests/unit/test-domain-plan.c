/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a libvirt domain is in a snapshot, and since when. */
#include "domain-build.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "instant.h"
#include "virt-rig.h"

#define CHAIN "nightly"
/* The instant k: long ago, and k milliseconds. */
#define INSTANT(k) (G_GINT64_CONSTANT(1577836800000) + (k))

#define QCOW2 "<driver name='qemu' type='qcow2'/>"
#define SOURCE "<source file='/a'/>"
#define DISK(target, inner) "<disk type='file' device='disk'>" SOURCE \
	"<target dev='" target "' bus='virtio'/>" inner "</disk>"
#define VDA DISK("vda", QCOW2)
#define VDB DISK("vdb", QCOW2)
#define RAW DISK("vdc", "<driver name='qemu' type='raw'/>")
#define READ_ONLY DISK("vdd", QCOW2 "<readonly/>")
#define SHAREABLE DISK("vde", "<shareable/>")
#define LUN "<disk type='block' device='lun'><source dev='/dev/sdz'/>" \
	"<target dev='sdb' bus='scsi'/></disk>"
#define CDROM "<disk type='file' device='cdrom'>" SOURCE \
	"<target dev='sdc' bus='sata'/></disk>"
#define EMPTY "<disk type='file' device='cdrom'>" \
	"<target dev='sdd' bus='sata'/></disk>"
#define FLOPPY "<disk type='file' device='floppy'>" SOURCE \
	"<target dev='fda' bus='fdc'/></disk>"
/* The name of a disk with an address may be anything. */
#define NAMED(target, slot) DISK(target, QCOW2 "<address type='pci' " \
	"domain='0' bus='0' slot='" slot "' function='0'/>")
#define VHOST_USER "<disk type='vhostuser' device='disk'>" \
	"<driver name='qemu' type='raw'/><source type='unix' path='/s'/>" \
	"<target dev='vdf' bus='virtio'/></disk>"
#define IOTHREADS "<iothreads>1</iothreads>"

typedef struct {
	const char *name;
	const char *outside, *devices; /* of the domain */
	const char *checkpoints;       /* "1 vda vdb, 2/pending vda" */
	const char *options;           /* "disk=GLOB chain since=K ..." */
	const char *expected;
	int code;                      /* 0: it is planned */
} PlanCase;

/* --- what a plan is about --- */

static void disk_free(DomainDisk *disk)
{
	g_free(disk->export);
	g_free(disk->scratch);
	g_free(disk->base_name);
	g_clear_pointer(&disk->facts, chain_disk_free);
	g_free(disk);
}

static void set_option(Settings *settings, const char *option)
{
	const char *value = strchr(option, '=');

	if (g_str_equal(option, "chain"))
		settings->chain = g_strdup(CHAIN);
	else if (g_str_equal(option, "fallback"))
		settings->fallback_full = true;
	else if (g_str_equal(option, "unsafe"))
		settings->unsafe_qemu = true;
	else if (g_str_has_prefix(option, "since="))
		settings->since_ms = INSTANT(atoi(value + 1));
	else if (g_str_has_prefix(option, "disk="))
		settings->disks = g_strdup(value + 1);
	else
		g_error("no such option: %s", option);
}

static Settings *parse_options(const char *text)
{
	g_auto(GStrv) options = g_strsplit(text, " ", -1);
	Settings *settings = settings_new();

	g_free(settings->scratch);
	settings->scratch = g_strdup("/scratch");
	for (char **option = options; *option; option++)
		set_option(settings, *option);
	return settings;
}

/* The last one, with which nothing can go on, is of the year 9999. */
static gint64 parse_instant(const char *text)
{
	if (g_str_equal(text, "last"))
		return INSTANT_MAX;
	if (g_str_equal(text, "last-but-one"))
		return INSTANT_MAX - 1;
	return INSTANT(atoi(text));
}

/* "2/pending vda vdb" */
static void add_checkpoint(VirtHost *host, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", 2);
	g_auto(GStrv) what = g_strsplit(words[0], "/", 2);
	g_auto(GStrv) targets = g_strsplit(words[1], " ", -1);
	g_autoptr(DomainCheckpoint) made = domain_checkpoint_new(CHAIN,
		parse_instant(what[0]));
	g_autofree char *name = NULL;
	g_autofree char *description = NULL;
	bool resized = g_strcmp0(what[1], "resized") == 0;

	made->pending = g_strcmp0(what[1], "pending") == 0;
	for (char **target = targets; *target; target++)
		domain_checkpoint_add(made, *target,
			VIRT_RIG_CAPACITY - resized, made->instant_ms);
	name = domain_checkpoint_name(made, VIRT_RIG_UUID);
	description = domain_checkpoint_description(made);
	virt_rig_add_checkpoint(host, name, description, words[1]);
}

static VirtHost *make_host(const PlanCase *this)
{
	g_auto(GStrv) parts = g_strsplit(this->checkpoints, ", ", -1);
	VirtHost *host = virt_rig_new(this->outside, this->devices);

	/* what is none of ours is not looked at */
	if (*parts)
		virt_rig_add_checkpoint(host, "theirs", "fleecefs", "vda");
	for (char **part = parts; *part; part++)
		add_checkpoint(host, *part);
	return host;
}

typedef struct {
	DomainBuild build;
	DomainRequest request;
	Fleece fleece;
	Settings *settings;
} Rig;

static void set_up(Rig *rig, VirtHost *host, const char *options)
{
	*rig = (Rig){ .settings = parse_options(options) };
	rig->request = (DomainRequest){ .vm = "vm", .uuid = VIRT_RIG_UUID,
		.settings = rig->settings };
	rig->fleece.warnings = g_ptr_array_new_with_free_func(g_free);
	rig->build = (DomainBuild){ .request = &rig->request, .virt = host,
		.owner = owner_self("0badcafe", "live"),
		.fleece = &rig->fleece };
	rig->build.disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_free);
}

static void tear_down(Rig *rig)
{
	g_ptr_array_unref(rig->build.disks);
	g_clear_pointer(&rig->build.hardware, virt_hardware_free);
	g_clear_pointer(&rig->build.checkpoints, g_ptr_array_unref);
	g_clear_pointer(&rig->build.next, domain_checkpoint_free);
	owner_free(rig->build.owner);
	g_ptr_array_unref(rig->fleece.warnings);
	g_free(rig->fleece.domain_xml);
	settings_free(rig->settings);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rig, tear_down)

/* --- the plan as a text: "vda=1/new vdb=first/new sdc=out" --- */

static void add_base(GString *text, const DomainDisk *disk)
{
	g_autoptr(Checkpoint) base = disk->base_name ?
		checkpoint_from_name(disk->base_name) : NULL;

	g_assert_true(!disk->base_name == !!disk->base.reason);
	if (base)
		g_assert_cmpstr(disk->base_name, ==, disk->base.base->name);
	if (base)
		g_string_append_printf(text, "%d",
			(int)(base->instant_ms - INSTANT(0)));
	else
		g_string_append(text, disk->base.reason);
	if (disk->recorded)
		g_string_append(text, "/new");
}

static char *describe(const DomainBuild *build)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		g_string_append_printf(text, "%s%s=", i ? " " : "",
			disk->disk->target);
		if (disk->chosen)
			add_base(text, disk);
		else
			g_string_append(text, "out");
	}
	return g_string_free(text, FALSE);
}

static const PlanCase plan_cases[] = {
	/* which disks */
	{ "disks/all", "", VDA RAW READ_ONLY, "", "",
		"vda=no-chain vdc=no-chain vdd=no-chain" },
	{ "disks/no-disks", "", CDROM EMPTY FLOPPY VDA, "", "",
		"sdc=out fda=out vda=no-chain" },
	{ "disks/glob", "", VDA VDB, "", "disk=vdb", "vda=out vdb=no-chain" },
	{ "disks/none", "", "", "", "", "the domain has no disk", ENOENT },
	{ "disks/only-cdrom", "", CDROM, "", "", "the domain has no disk",
		ENOENT },
	{ "disks/empty", "", EMPTY, "", "disk=*", "the domain has no chosen",
		ENOENT },
	{ "disks/none-chosen", "", VDA, "", "disk=sd*",
		"the domain has no chosen disk", ENOENT },
	{ "disks/cdrom-is-chosen", "", VDA CDROM, "", "disk=sdc",
		"the domain has no chosen disk", ENOENT },

	/* whose writes QEMU does not see */
	{ "past/shareable", "", VDA SHAREABLE, "", "",
		"disk vde: it is shareable", EOPNOTSUPP },
	{ "past/shareable-out", "", VDA SHAREABLE, "", "disk=vda",
		"vda=no-chain vde=out" },
	{ "past/lun", "", VDA LUN, "", "", "disk sdb: it is passed through",
		EOPNOTSUPP },
	{ "past/lun-out", "", VDA LUN, "", "disk=vd*",
		"vda=no-chain sdb=out" },
	{ "past/vhost-user", "", VDA VHOST_USER, "", "",
		"disk vdf: its writes go past QEMU", EOPNOTSUPP },

	/* names */
	{ "named/plain", "", NAMED("vd-a_B.0:1", "9"), "", "chain",
		"vd-a_B.0:1=first/new" },
	{ "named/space", "", NAMED("vd a", "9"), "", "",
		"disk vd a: its name", EOPNOTSUPP },
	{ "named/equals", "", NAMED("vd=8", "9"), "", "chain",
		"disk vd=8: its name", EOPNOTSUPP },
	{ "named/path", "", NAMED("vd/../../etc/x", "9"), "", "",
		"disk vd/../../etc/x: its name", EOPNOTSUPP },
	{ "named/letter", "", NAMED("vd\xc3\xbc", "9"), "", "",
		"disk vd\\303\\274: its name", EOPNOTSUPP },
	{ "named/out", "", VDA NAMED("vd a", "9"), "", "chain disk=vda",
		"vd a=out vda=first/new" },

	/* QEMU's version is that of the driver, 0.0.2 */
	{ "iothreads/refused", IOTHREADS, VDA, "", "",
		"QEMU 0.0.2: with iothreads", EOPNOTSUPP },

	/* a chain */
	{ "chain/first", "", VDA VDB, "", "chain",
		"vda=first/new vdb=first/new" },
	{ "chain/formats", "", VDA RAW READ_ONLY, "", "chain",
		"vda=first/new vdc=no-bitmap vdd=read-only" },
	{ "chain/no-qcow2", "", RAW, "", "chain", "option 'chain' needs",
		EOPNOTSUPP },
	{ "chain/read-only", "", READ_ONLY, "", "chain",
		"option 'chain' needs", EOPNOTSUPP },
	{ "chain/qcow2-out", "", VDA RAW, "", "chain disk=vdc",
		"option 'chain' needs", EOPNOTSUPP },
	{ "chain/next", "", VDA VDB, "1 vda vdb", "chain",
		"vda=1/new vdb=1/new" },
	{ "chain/newest", "", VDA, "1 vda, 3 vda, 2 vda", "chain",
		"vda=3/new" },
	{ "chain/pending", "", VDA, "1 vda, 2/pending vda", "chain",
		"vda=1/new" },
	{ "chain/new-disk", "", VDA VDB, "1 vda", "chain",
		"vda=1/new vdb=new-disk/new" },
	{ "chain/resized", "", VDA VDB, "1/resized vda vdb", "chain",
		"vda=resized/new vdb=resized/new" },
	{ "chain/out", "", VDA VDB, "1 vda vdb", "chain disk=vda",
		"vda=1/new vdb=out" },
	{ "chain/newer-on-one-that-is-out", "", VDA VDB, "1 vda, 2 vdb",
		"chain disk=vda", "vda=new-disk/new vdb=out" },
	{ "chain/two-of-one-instant", "", VDA VDB,
		"1 vda, 1/resized vdb", "chain",
		"vda=1/new vdb=resized/new" },
	{ "chain/without", "", VDA, "1 vda", "", "vda=no-chain" },

	{ "since/older", "", VDA, "1 vda, 2 vda", "chain since=1",
		"vda=1/new" },
	{ "since/partly", "", VDA VDB, "1 vda, 2 vda vdb", "chain since=1",
		"vda=1/new vdb=since-missing/new" },
	{ "since/missing", "", VDA, "1 vda", "chain since=2",
		"has no usable checkpoint", ENOENT },
	{ "since/pending", "", VDA, "1/pending vda", "chain since=1",
		"has no usable checkpoint", ENOENT },
	{ "since/fallback", "", VDA, "1 vda", "chain since=2 fallback",
		"vda=since-missing/new" },

	{ "last", "", VDA, "last vda", "chain", "year 9999", EOVERFLOW },
};

static bool plan(DomainBuild *build, GError **error)
{
	return domain_plan_disks(build, error) &&
		domain_plan_chain(build, error);
}

static void test_plan(gconstpointer data)
{
	const PlanCase *this = data;
	g_autoptr(VirtHost) host = make_host(this);
	g_autoptr(GError) error = NULL;
	g_auto(Rig) rig = { 0 };
	g_autofree char *text = NULL;

	set_up(&rig, host, this->options);
	if (plan(&rig.build, &error)) {
		g_assert_cmpint(this->code, ==, 0);
		text = describe(&rig.build);
		g_assert_cmpstr(text, ==, this->expected);
		return;
	}
	if (!this->code)
		g_error("%s", error->message);
	g_assert_error(error, FLEECE_ERROR, this->code);
	if (!strstr(error->message, this->expected))
		g_error("\"%s\" lacks \"%s\"", error->message,
			this->expected);
}

/* --- what is not in the table --- */

static void test_iothreads_unsafe(void)
{
	g_autoptr(VirtHost) host = virt_rig_new(IOTHREADS, VDA);
	g_auto(Rig) rig = { 0 };

	set_up(&rig, host, "unsafe");
	g_test_expect_message("fleecefs", G_LOG_LEVEL_WARNING,
		"VM vm: with iothreads*");
	g_assert_true(plan(&rig.build, NULL));
	g_test_assert_expected_messages();
	g_assert_cmpuint(rig.fleece.warnings->len, ==, 1);
}

/* Each disk has a name on the wire and a file, and no two have the same. */
static void test_names(void)
{
	g_autoptr(VirtHost) host = virt_rig_new("", VDA VDB);
	g_auto(Rig) rig = { 0 };
	const DomainDisk *vda, *vdb;

	set_up(&rig, host, "disk=vda");
	g_assert_true(plan(&rig.build, NULL));
	g_assert_nonnull(strstr(rig.fleece.domain_xml, "<target dev='vdb'"));
	vda = rig.build.disks->pdata[0];
	vdb = rig.build.disks->pdata[1];
	g_assert_cmpstr(vda->scratch, ==, "/scratch/fleecefs-0badcafe-vda");
	g_assert_cmpstr(vdb->scratch, ==, "/scratch/fleecefs-0badcafe-vdb");
	g_assert_true(g_str_has_prefix(vda->export, "fleecefs;boot="));
	g_assert_true(g_str_has_suffix(vda->export, ";disk=vda"));
	g_assert_true(g_str_has_suffix(vdb->export, ";disk=vdb"));
}

/* The next checkpoint has what is recorded and chosen, at the instant. */
static void test_next(void)
{
	static const PlanCase state = { .outside = "",
		.devices = VDA VDB RAW READ_ONLY, .checkpoints = "1 vda" };
	g_autoptr(VirtHost) host = make_host(&state);
	g_auto(Rig) rig = { 0 };
	gint64 before = instant_now() - 1;
	g_autofree char *description = NULL;
	g_autofree char *expected = g_strdup_printf(
		"fleecefs pending vda=%" G_GUINT64_FORMAT,
		VIRT_RIG_CAPACITY);

	set_up(&rig, host, "chain disk=vda:vdc:vdd");
	g_assert_true(plan(&rig.build, NULL));
	description = domain_checkpoint_description(rig.build.next);
	g_assert_cmpstr(description, ==, expected);
	g_assert_cmpint(rig.build.next->instant_ms, >, before);
	g_assert_cmpint(rig.build.next->instant_ms, ==,
		rig.fleece.instant_ms);
}

/* It is newer than all that there are, whatever the clock says. */
static void test_clock_went_back(void)
{
	static const PlanCase state = { .outside = "", .devices = VDA,
		.checkpoints = "last-but-one vda" };
	g_autoptr(VirtHost) host = make_host(&state);
	g_auto(Rig) rig = { 0 };

	set_up(&rig, host, "chain");
	g_test_expect_message("fleecefs", G_LOG_LEVEL_WARNING,
		"VM vm: the clock is*behind*");
	g_assert_true(plan(&rig.build, NULL));
	g_test_assert_expected_messages();
	g_assert_cmpint(rig.build.next->instant_ms, ==, INSTANT_MAX);
}

static void test_no_chain(void)
{
	g_autoptr(VirtHost) host = virt_rig_new("", VDA);
	g_auto(Rig) rig = { 0 };
	gint64 before = instant_now();

	set_up(&rig, host, "");
	g_assert_true(plan(&rig.build, NULL));
	g_assert_null(rig.build.next);
	g_assert_null(rig.build.checkpoints);
	g_assert_cmpint(rig.fleece.instant_ms, >=, before);
}

/* A base that libvirt has refused is none when it is planned again. */
static void test_again(void)
{
	static const PlanCase state = { .outside = "", .devices = VDA VDB,
		.checkpoints = "1 vda vdb" };
	g_autoptr(VirtHost) host = make_host(&state);
	g_auto(Rig) rig = { 0 };
	g_autofree char *before = NULL;
	g_autofree char *after = NULL;
	const DomainDisk *vda;

	set_up(&rig, host, "chain");
	g_assert_true(plan(&rig.build, NULL));
	before = describe(&rig.build);
	g_assert_cmpstr(before, ==, "vda=1/new vdb=1/new");
	vda = rig.build.disks->pdata[0];
	((ChainBitmap *)vda->base.base)->inconsistent = true;
	g_assert_true(domain_plan_chain(&rig.build, NULL));
	after = describe(&rig.build);
	g_assert_cmpstr(after, ==, "vda=inconsistent/new vdb=1/new");
}

static void test_no_domain(void)
{
	g_autoptr(VirtHost) host = virt_rig_new("", VDA);
	g_autoptr(GError) error = NULL;
	g_auto(Rig) rig = { 0 };

	set_up(&rig, host, "");
	rig.request.uuid = "00000000-0000-4000-8000-000000000000";
	g_assert_false(plan(&rig.build, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(plan_cases); i++) {
		g_autofree char *path = g_strconcat("/domain-plan/",
			plan_cases[i].name, NULL);

		g_test_add_data_func(path, &plan_cases[i], test_plan);
	}
	g_test_add_func("/domain-plan/iothreads/unsafe",
		test_iothreads_unsafe);
	g_test_add_func("/domain-plan/names", test_names);
	g_test_add_func("/domain-plan/next", test_next);
	g_test_add_func("/domain-plan/clock-went-back", test_clock_went_back);
	g_test_add_func("/domain-plan/no-chain", test_no_chain);
	g_test_add_func("/domain-plan/again", test_again);
	g_test_add_func("/domain-plan/no-domain", test_no_domain);
	return g_test_run();
}
