/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What SOURCE on the command line means. */
#include "source.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "autofd.h"
#include "fleece-error.h"

typedef struct {
	char *dir;
	Settings *settings; /* the mount's: not the defaults */
} Folder;

static void set_up(Folder *f, gconstpointer unused)
{
	f->dir = g_dir_make_tmp("fleecefs-source-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
	f->settings = settings_new();
	f->settings->disks = g_strdup("v*");
	f->settings->connections = 7;
	f->settings->method = METHOD_JOB;
}

static void tear_down(Folder *f, gconstpointer unused)
{
	g_autoptr(GDir) dir = g_dir_open(f->dir, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(f->dir, name, NULL);

		g_unlink(path);
	}
	g_rmdir(f->dir);
	g_free(f->dir);
	settings_free(f->settings);
}

static char *path_of(const Folder *f, const char *name)
{
	return g_build_filename(f->dir, name, NULL);
}

/* A socket's name stays when nobody listens any more. */
static void add_socket(const Folder *f, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_autofree char *path = path_of(f, name);

	g_assert_cmpuint(g_strlcpy(address.sun_path, path,
		sizeof(address.sun_path)), <, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address,
		sizeof(address)), ==, 0);
}

static void add_file(const Folder *f, const char *name, const char *text)
{
	g_autofree char *path = path_of(f, name);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static Source *must_open(const Folder *f, const char *file, const char *name,
	const char *globs)
{
	g_autofree char *path = path_of(f, file);
	g_autoptr(GError) error = NULL;
	Source *source = source_new(path, name, globs, f->settings, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(source_spec(source), ==, path);
	return source;
}

static void must_fail(const Folder *f, const char *file, const char *name,
	int code, const char *words)
{
	g_autofree char *path = path_of(f, file);
	g_autoptr(GError) error = NULL;

	g_assert_null(source_new(path, name, NULL, f->settings, &error));
	g_assert_error(error, FLEECE_ERROR, code);
	g_assert_nonnull(error);
	if (!strstr(error->message, words) || !strstr(error->message, path))
		g_error("\"%s\" lacks \"%s\"", error->message, words);
}

/* The names of the VMs there are, with a comma between. */
static void assert_vms(const Source *source, const char *expected)
{
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(GPtrArray) vms = source_list(source, failures);
	g_autoptr(GString) names = g_string_new(NULL);

	g_assert_cmpuint(failures->len, ==, 0);
	for (guint i = 0; i < vms->len; i++) {
		const VmConfig *config = vms->pdata[i];

		g_string_append_printf(names, "%s%s", i ? "," : "",
			config->name);
	}
	g_assert_cmpstr(names->str, ==, expected);
}

static VmConfig *find(const Source *source, const char *name)
{
	g_autoptr(GPtrArray) vms = source_list(source, NULL);

	for (guint i = 0; i < vms->len; i++) {
		const VmConfig *config = vms->pdata[i];

		if (g_str_equal(config->name, name))
			return vm_config_copy(config);
	}
	g_error("no VM %s", name);
}

/* --- a socket --- */

static void test_socket(Folder *f, gconstpointer unused)
{
	static const struct {
		const char *file, *vm;
	} cases[] = {
		{ "web01.qmp", "web01" },
		{ "web.eu.qmp", "web.eu" },
		{ "monitor", "monitor" },
		{ ".hidden", "%2Ehidden" },
		{ "vm.json.qmp", "vm%2Ejson" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Source) source = NULL;
		g_autoptr(VmConfig) config = NULL;

		add_socket(f, cases[i].file);
		source = must_open(f, cases[i].file, NULL, NULL);
		assert_vms(source, cases[i].vm);
		config = find(source, cases[i].vm);
		g_assert_cmpstr(config->qmp, ==, source_spec(source));
		g_assert_cmpstr(config->settings->disks, ==, "v*");
		g_assert_cmpuint(config->settings->connections, ==, 7);
		g_assert_cmpint(config->settings->method, ==, METHOD_JOB);
		g_assert_true(config->settings != f->settings);
	}
}

static void test_name(Folder *f, gconstpointer unused)
{
	static const char *const names[][2] = {
		{ "db", "db" },
		{ "../x", "%2E.%2Fx" },
		{ ".fleecefs", "%2Efleecefs" },
		{ "vm.json", "vm%2Ejson" },
		{ "..", "%2E." },
		{ "-f", "%2Df" },
	};

	add_socket(f, "web01.qmp");
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(Source) source = must_open(f, "web01.qmp",
			names[i][0], NULL);

		assert_vms(source, names[i][1]);
	}
}

static void test_relative_path(Folder *f, gconstpointer unused)
{
	g_autofree char *before = g_get_current_dir();
	g_autofree char *path = path_of(f, "web01.qmp");
	g_autoptr(Source) source = NULL;
	g_autoptr(VmConfig) config = NULL;

	add_socket(f, "web01.qmp");
	g_assert_cmpint(g_chdir(f->dir), ==, 0);
	source = source_new("./web01.qmp", NULL, NULL, f->settings, NULL);
	g_assert_cmpint(g_chdir(before), ==, 0);
	g_assert_nonnull(source);
	g_assert_cmpstr(source_spec(source), ==, path);
	config = find(source, "web01");
	g_assert_cmpstr(config->qmp, ==, path);
}

static void test_socket_with_globs(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) chosen = NULL;
	g_autoptr(Source) left_out = NULL;

	add_socket(f, "web01.qmp");
	chosen = must_open(f, "web01.qmp", NULL, "db*:web0?");
	left_out = must_open(f, "web01.qmp", NULL, "db*:web");
	assert_vms(chosen, "web01");
	assert_vms(left_out, "");
}

/* --- a directory --- */

static void test_sockets_come_and_go(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = must_open(f, "", NULL, NULL);
	g_autofree char *path = path_of(f, "b.qmp");

	assert_vms(source, "");
	add_socket(f, "b.qmp");
	assert_vms(source, "b");
	add_socket(f, "a.qmp");
	assert_vms(source, "a,b");
	g_assert_cmpint(g_unlink(path), ==, 0);
	assert_vms(source, "a");
}

static void test_only_qmp_sockets_count(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = must_open(f, "", NULL, NULL);
	g_autoptr(VmConfig) config = NULL;
	g_autofree char *path = path_of(f, "web01.qmp");

	add_socket(f, "web01.qmp");
	add_socket(f, "web01.agent");
	add_file(f, "file.qmp", "");
	assert_vms(source, "web01");
	config = find(source, "web01");
	g_assert_cmpstr(config->qmp, ==, path);
	g_assert_cmpstr(config->settings->disks, ==, "v*");
}

/* By the name of the VM, not by that of the file: '-' comes before '.'. */
static void test_directory_is_sorted(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = must_open(f, "", NULL, NULL);

	add_socket(f, "web.qmp");
	add_socket(f, "web-2.qmp");
	add_socket(f, "db.qmp");
	assert_vms(source, "db,web,web-2");
}

static void test_directory_with_globs(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = must_open(f, "", NULL, "web*:db");

	add_socket(f, "web1.qmp");
	add_socket(f, "web2.qmp");
	add_socket(f, "db.qmp");
	add_socket(f, "dbx.qmp");
	assert_vms(source, "db,web1,web2");
}

static void test_directory_goes(Folder *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "sub");
	g_autoptr(GPtrArray) failures = NULL;
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(Source) source = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
	source = must_open(f, "sub", NULL, NULL);
	assert_vms(source, "");
	g_assert_cmpint(g_rmdir(path), ==, 0);
	failures = source_failures_new();
	vms = source_list(source, failures);
	g_assert_cmpuint(vms->len, ==, 0);
	g_assert_true(source_failed(failures, &error));
	g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
}

/* --- a .conf --- */

static void test_conf(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = NULL;
	g_autoptr(VmConfig) web = NULL;
	g_autoptr(VmConfig) db = NULL;

	add_file(f, "site.conf",
		"# two VMs\n[web]\nqmp=/run/web.qmp\n\n"
		"[db]\nqmp=/run/../run/db.qmp\ndisks=va:vb\n"
		"scratch=/srv//scratch/\nmethod=filter\n");
	source = must_open(f, "site.conf", NULL, NULL);
	assert_vms(source, "db,web");
	web = find(source, "web");
	g_assert_cmpstr(web->qmp, ==, "/run/web.qmp");
	g_assert_cmpstr(web->settings->disks, ==, "v*");
	g_assert_cmpstr(web->settings->scratch, ==, "/var/tmp");
	g_assert_cmpint(web->settings->method, ==, METHOD_JOB);
	db = find(source, "db");
	g_assert_cmpstr(db->qmp, ==, "/run/db.qmp");
	g_assert_cmpstr(db->settings->disks, ==, "va:vb");
	g_assert_cmpstr(db->settings->scratch, ==, "/srv/scratch");
	g_assert_cmpint(db->settings->method, ==, METHOD_FILTER);
	g_assert_cmpuint(db->settings->connections, ==, 7);
}

/* It is read once. */
static void test_conf_is_kept(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = NULL;

	add_file(f, "site.conf", "[web]\nqmp=/run/web.qmp\n");
	source = must_open(f, "site.conf", NULL, NULL);
	add_file(f, "site.conf", "[other]\nqmp=/run/other.qmp\n");
	assert_vms(source, "web");
}

static void test_conf_with_globs(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = NULL;

	add_file(f, "site.conf", "[web1]\nqmp=/a\n[db]\nqmp=/b\n"
		"[web2]\nqmp=/c\n");
	source = must_open(f, "site.conf", NULL, "web*");
	assert_vms(source, "web1,web2");
}

static void test_conf_names(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = NULL;

	add_file(f, "site.conf", "[../x]\nqmp=/a\n[.fleecefs]\nqmp=/b\n"
		"[vm.json]\nqmp=/c\n[a b]\nqmp=/d\n");
	source = must_open(f, "site.conf", NULL, NULL);
	assert_vms(source, "%2E.%2Fx,%2Efleecefs,a b,vm%2Ejson");
}

/* A key that is there twice counts as it stands last. */
static void test_conf_key_twice(Folder *f, gconstpointer unused)
{
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(Source) source = NULL;
	const VmConfig *vm;

	add_file(f, "site.conf", "[web]\nqmp=/a\ndisks=x\nqmp=/b\ndisks=y\n"
		"agent=/c\nagent=/d\n");
	source = must_open(f, "site.conf", NULL, NULL);
	vms = source_list(source, NULL);
	g_assert_cmpuint(vms->len, ==, 1);
	vm = vms->pdata[0];
	g_assert_cmpstr(vm->qmp, ==, "/b");
	g_assert_cmpstr(vm->settings->disks, ==, "y");
	g_assert_cmpstr(vm->settings->agent, ==, "/d");
}

/* Two names that are one when cut, in the order of the file. */
static void test_conf_duplicates(Folder *f, gconstpointer unused)
{
	g_autofree char *same = g_strnfill(250, 'n');
	g_autofree char *text = g_strdup_printf(
		"[%sB]\nqmp=/first\n[%sA]\nqmp=/second\n", same, same);
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(Source) source = NULL;
	const VmConfig *first, *second;

	add_file(f, "site.conf", text);
	source = must_open(f, "site.conf", NULL, NULL);
	vms = source_list(source, NULL);
	g_assert_cmpuint(vms->len, ==, 2);
	first = vms->pdata[0];
	second = vms->pdata[1];
	g_assert_cmpstr(first->qmp, ==, "/first");
	g_assert_cmpstr(second->qmp, ==, "/second");
	g_assert_true(g_str_has_suffix(second->name, "n~2"));
	g_assert_cmpuint(strlen(second->name), ==, strlen(first->name) + 2);
	g_assert_true(g_str_has_prefix(second->name, first->name));
}

/* A group's agent is its own; there is none for several VMs. */
static void test_agents(Folder *f, gconstpointer unused)
{
	g_autoptr(Source) source = NULL;
	g_autoptr(VmConfig) web = NULL;

	f->settings->freeze = FREEZE_REQUIRE;
	add_file(f, "site.conf", "[web]\nqmp=/a\nagent=/run//web\n"
		"[db]\nqmp=/b\nfreeze=no\n");
	source = must_open(f, "site.conf", NULL, NULL);
	web = find(source, "web");
	g_assert_cmpstr(web->settings->agent, ==, "/run/web");
	g_assert_cmpint(web->settings->freeze, ==, FREEZE_REQUIRE);
	add_file(f, "site.conf", "[web]\nqmp=/a\n");
	must_fail(f, "site.conf", NULL, EINVAL, "'freeze' needs 'agent'");
	f->settings->agent = g_strdup("/run/agent");
	must_fail(f, "site.conf", NULL, EINVAL, "agent= is that of one VM");
	must_fail(f, "", NULL, EINVAL, "agent= is that of one VM");
	add_socket(f, "web01.qmp");
	g_clear_pointer(&source, source_free);
	source = must_open(f, "web01.qmp", NULL, NULL);
}

/* --- groups whose VMs come and go --- */

static void test_conf_directories(Folder *f, gconstpointer unused)
{
	g_autofree char *gone = path_of(f, "a.qmp");
	g_autofree char *text = g_strdup_printf("[one]\ndirectory=%s\n"
		"disks=x\n[two]\ndirectory=%s/.\n[a@one]\nqmp=/fixed\n",
		f->dir, f->dir);
	g_autoptr(Source) source = NULL;
	g_autoptr(VmConfig) config = NULL;

	add_file(f, "site.conf", text);
	source = must_open(f, "site.conf", NULL, NULL);
	g_assert_true(source_has_groups(source));
	g_assert_true(source_needs_scratch(source));
	assert_vms(source, "a@one");
	add_socket(f, "b.qmp");
	assert_vms(source, "a@one,b@one,b@two");
	config = find(source, "b@one");
	g_assert_true(g_str_has_suffix(config->qmp, "/b.qmp"));
	g_assert_cmpstr(config->settings->disks, ==, "x");
	g_assert_cmpuint(config->settings->connections, ==, 7);
	/* the group that is one VM keeps its name, whoever comes */
	add_socket(f, "a.qmp");
	assert_vms(source, "a@one,a@one~2,a@two,b@one,b@two");
	vm_config_free(config);
	config = find(source, "a@one");
	g_assert_cmpstr(config->qmp, ==, "/fixed");
	g_assert_cmpint(g_unlink(gone), ==, 0);
	assert_vms(source, "a@one,b@one,b@two");
}

static void test_conf_directories_with_globs(Folder *f, gconstpointer unused)
{
	g_autofree char *text = g_strdup_printf("[one]\ndirectory=%s\n"
		"[two]\ndirectory=%s\n[web9]\nqmp=/a\n", f->dir, f->dir);
	g_autoptr(Source) names = NULL;
	g_autoptr(Source) group = NULL;

	add_socket(f, "web1.qmp");
	add_socket(f, "db.qmp");
	add_file(f, "site.conf", text);
	names = must_open(f, "site.conf", NULL, "web*");
	assert_vms(names, "web1@one,web1@two,web9");
	group = must_open(f, "site.conf", NULL, "*@two");
	assert_vms(group, "db@two,web1@two");
}

/* It costs its own alone. */
static void test_conf_directory_is_missing(Folder *f, gconstpointer unused)
{
	g_autofree char *text = g_strdup_printf("[a]\ndirectory=%s/none\n"
		"[b]\ndirectory=%s\n[c]\nqmp=/c\n", f->dir, f->dir);
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(Source) source = NULL;
	g_autoptr(GError) error = NULL;

	add_socket(f, "web.qmp");
	add_file(f, "site.conf", text);
	source = must_open(f, "site.conf", NULL, NULL);
	vms = source_list(source, failures);
	g_assert_cmpuint(vms->len, ==, 2);
	g_assert_cmpuint(failures->len, ==, 1);
	g_assert_true(source_failed(failures, &error));
	g_assert_nonnull(strstr(error->message, "site.conf: group [a]: "));
}

static void test_bad_places(Folder *f, gconstpointer unused)
{
	static const struct {
		const char *text;
		const char *words;
	} cases[] = {
		{ "[a]\nqmp=/a\ndirectory=/b\n", "[a]: it needs one of" },
		{ "[a]\nlibvirt=qemu:///system\nqmp=/a\n",
			"[a]: it needs one of" },
		{ "[a]\ndomain=web\n", "[a]: it needs one of" },
		{ "[a]\nqmp=/a\ndomain=web\n", "domain= needs libvirt=" },
		{ "[a]\nlibvirt=\n", "'libvirt='" },
		{ "[a]\ndirectory=\n", "'directory='" },
		{ "[a]\ndirectory=/a\nagent=/b\n", "agent= is that of one" },
		{ "[a]\ndirectory=/a\nfreeze=try\n", "'freeze' needs" },
		{ "[a]\ndirectory=/a\nbitmap=b\n", "'bitmap'" },
		{ "[a@b]\ndirectory=/a\n", "NAME@GROUP" },
		{ "[a]\nlibvirt=/run/libvirt\n", "no libvirt URI" },
		{ "[a]\nlibvirt=qemu+ssh:///system\n", "no libvirt URI" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		add_file(f, "site.conf", cases[i].text);
		must_fail(f, "site.conf", NULL, EINVAL, cases[i].words);
	}
}

static void test_bad_conf(Folder *f, gconstpointer unused)
{
	static const struct {
		const char *text;
		const char *words;
	} cases[] = {
		{ "[web]\nqmp=/a\ncolour=red\n", "'colour=red'" },
		{ "[web]\ndisks=va\n", "[web]: it needs one of" },
		{ "[web]\n", "[web]: it needs one of" },
		{ "[a]\nqmp=/a\n[b]\n", "[b]: it needs one of" },
		{ "[web]\nqmp=/a\nmethod=magic\n", "'method=magic'" },
		{ "[web]\nqmp=/a\nmethod=\n", "'method='" },
		{ "[web]\nqmp=/a\nfreeze=maybe\n", "'freeze=maybe'" },
		{ "[web]\nqmp=/a\nagent=\n", "'agent='" },
		{ "[web]\nqmp=\n", "'qmp='" },
		{ "[web]\nqmp=/a\nscratch=\n", "'scratch='" },
		{ "[web]\nqmp=/a\\q\n", "[web]" },
		{ "qmp=/a\n", "group" },
		{ "no key file\n", "no .conf file" },
		{ "[web]\nqmp=/\xff\n", "[web]" },
	};

	g_autofree char *image = g_strnfill(2 << 20, 'x');

	add_file(f, "site.conf", image);
	must_fail(f, "site.conf", NULL, EINVAL, "too large");
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		add_file(f, "site.conf", cases[i].text);
		must_fail(f, "site.conf", NULL, EINVAL, cases[i].words);
	}
}

/* --- what it is not --- */

static void test_name_needs_one_vm(Folder *f, gconstpointer unused)
{
	add_file(f, "site.conf", "[web]\nqmp=/a\n");
	must_fail(f, "site.conf", "x", EINVAL, "name=");
	must_fail(f, "", "x", EINVAL, "name=");
}

static void test_nothing_of_the_kind(Folder *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "fifo");

	must_fail(f, "none", NULL, ENOENT, "No such file");
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	must_fail(f, "fifo", NULL, EINVAL, "neither");
}

static void test_globs(void)
{
	g_assert_true(globs_match(NULL, "x"));
	g_assert_true(globs_match("x", "x"));
	g_assert_true(globs_match("a:x", "x"));
	g_assert_true(globs_match("a:?", "x"));
	g_assert_false(globs_match("a:b", "x"));
	g_assert_false(globs_match("x", "xx"));
	g_assert_false(globs_match("", "x"));
}

static void add(const char *path, void (*test)(Folder *, gconstpointer))
{
	g_test_add(path, Folder, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add("/source/socket/stem", test_socket);
	add("/source/socket/name", test_name);
	add("/source/socket/relative", test_relative_path);
	add("/source/socket/globs", test_socket_with_globs);
	add("/source/directory/come-and-go", test_sockets_come_and_go);
	add("/source/directory/only-qmp", test_only_qmp_sockets_count);
	add("/source/directory/sorted", test_directory_is_sorted);
	add("/source/directory/globs", test_directory_with_globs);
	add("/source/directory/goes", test_directory_goes);
	add("/source/conf/good", test_conf);
	add("/source/conf/kept", test_conf_is_kept);
	add("/source/conf/globs", test_conf_with_globs);
	add("/source/conf/names", test_conf_names);
	add("/source/conf/key-twice", test_conf_key_twice);
	add("/source/conf/duplicates", test_conf_duplicates);
	add("/source/conf/agents", test_agents);
	add("/source/conf/directories", test_conf_directories);
	add("/source/conf/directories-globs",
		test_conf_directories_with_globs);
	add("/source/conf/directory-missing", test_conf_directory_is_missing);
	add("/source/conf/bad-places", test_bad_places);
	add("/source/conf/bad", test_bad_conf);
	add("/source/name-needs-one-vm", test_name_needs_one_vm);
	add("/source/nothing-of-the-kind", test_nothing_of_the_kind);
	g_test_add_func("/source/globs", test_globs);
	return g_test_run();
}
