/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of a .conf that are a libvirt: nobody is asked yet. */
#include "source.h"

#include <errno.h>
#include <string.h>

#include <glib/gstdio.h>

#include "fleece-error.h"
#include "source-words.h"

static Source *open_conf(const char *text, bool discard, GError **error)
{
	g_autoptr(Settings) settings = settings_new();
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("fleecefs-XXXXXX.conf", &path, NULL);
	Source *source;

	g_assert_true(fd >= 0 && g_close(fd, NULL));
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	settings->discard = discard;
	source = source_new(path, NULL, NULL, settings, error);
	g_unlink(path);
	return source;
}

static void assert_hosts(const char *text, unsigned n)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Source) source = open_conf(text, false, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(source_hosts(source)->len, ==, n);
	g_assert_true(source_needs_scratch(source));
}

/* What is the same libvirt is connected to once. */
static void test_hosts(void)
{
	assert_hosts("[a]\nlibvirt=qemu:///system\n", 1);
	assert_hosts("[a]\nlibvirt=qemu:///system\ndomain=x\n"
		"[b]\nlibvirt=qemu:///system\ndomain=y\nfreeze=try\n"
		"[c]\nlibvirt=qemu+unix:///system?socket=/c\n", 2);
}

static void assert_refused(const char *text, bool discard, const char *words)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(open_conf(text, discard, &error));
	g_assert_error(error, FLEECE_ERROR, EINVAL);
	if (!strstr(error->message, words))
		g_error("\"%s\" lacks \"%s\"", error->message, words);
}

static void test_refused(void)
{
	assert_refused("[a]\nlibvirt=qemu:///system\nagent=/a\n", false,
		"'agent'");
	assert_refused("[a]\nlibvirt=qemu:///system\nmethod=job\n", false,
		"'method'");
	assert_refused("[a]\nlibvirt=qemu:///system\n", true, "'discard'");
	assert_refused("[a]\nlibvirt=qemu:///system\n"
		"[b]\nlibvirt=qemu:///system\n", false, "[a] has what");
	assert_refused("[a]\nlibvirt=qemu:///system\ndomain=x\n"
		"[b]\nlibvirt=qemu:///system\ndomain=x\n", false,
		"[a] has what");
	assert_refused("[a@b]\nlibvirt=qemu:///system\n", false,
		"NAME@GROUP");
	assert_refused("[a]\nlibvirt=qemu:///system\ndomain=\n", false,
		"'domain='");
}

/* Of another machine there is neither scratch nor an image here. */
static void test_remote(void)
{
	static const char text[] = "[hv]\n"
		"libvirt=qemu+tls://hv.example.org/system\n"
		"tls_certificates=/c\nports=10900-10910\nscratch=/far\n";
	g_autoptr(GError) error = NULL;
	g_autoptr(Source) source = open_conf(text, false, &error);

	g_assert_no_error(error);
	g_assert_false(source_needs_scratch(source));
	g_assert_false(source_may_be_off(source));
	g_assert_false(source_runs_programs(source));
}

#define FAR "[a]\nlibvirt=qemu+ssh://hv/system\n"

static void test_remote_refused(void)
{
	assert_refused(FAR "tls_psk=/p\n", false, "NBD server");
	assert_refused(FAR "method=job\n", false, "another machine: it makes");
	assert_refused(FAR "ports=10900-10899\n", false, "'ports=");
	assert_refused(FAR "ports=0\n", false, "'ports=");
	assert_refused(FAR "ports=1-65536\n", false, "'ports=");
	assert_refused(FAR "ports=-\n", false, "'ports=");
	assert_refused("[a]\nlibvirt=qemu:///system\nports=1\n", false,
		"'ports' is for a libvirt on another machine alone");
	assert_refused("[a]\nlibvirt=qemu:///system\ntls_certificates=/c\n",
		false, "or a libvirt on another machine");
	assert_refused("[a]\nqmp=/q\nports=1\n", false, "'ports' is for");
}

/* What libvirt cannot do, a QEMU whose monitor it lends can; but one of
 * another machine gets no descriptors. */
static void test_via(void)
{
	static const char lent[] = "[a]\nlibvirt=qemu:///system\nvia=monitor\n"
		"method=filter\n";
	static const char *const via[] = { "via", NULL };
	g_autoptr(GError) error = NULL;
	g_autoptr(Source) source = open_conf(lent, true, &error);
	g_autoptr(Settings) settings = settings_new();

	g_assert_no_error(error);
	g_assert_nonnull(source);
	assert_refused("[a]\nlibvirt=qemu:///system\nvia=backup\n", true,
		"'discard'");
	assert_refused("[a]\nlibvirt=qemu:///system\nvia=x\n", false,
		"via=x");
	assert_refused("[a]\nlibvirt=qemu:///system\nvia=monitor\n"
		"agent=/a\n", false, "'agent' does not go with via=monitor");
	assert_refused("[a]\nqmp=/q\nvia=monitor\n", false,
		"'via' does not go with a QMP socket");
	g_assert_null(settings_set(settings, "via", "monitor"));
	g_assert_true(source_words_check(via, "qemu:///system", settings,
		NULL));
	g_assert_false(source_words_check(via, "qemu+ssh://h/system", settings,
		&error));
	g_assert_error(error, FLEECE_ERROR, EINVAL);
	g_assert_nonnull(strstr(error->message, "another machine"));
}

/* A domain that is named is there, and says why it cannot be had; what is not
 * named is not known. */
static void test_nobody_there(void)
{
	static const char uri[] = "qemu+unix:///system?socket=/dev/null/none";
	g_autofree char *text = g_strdup_printf("[hv]\nlibvirt=%s\n"
		"[web]\nlibvirt=%s\ndomain=web01\n", uri, uri);
	g_autoptr(GError) missing = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(Source) source = open_conf(text, false, &error);
	g_autoptr(GPtrArray) vms = NULL;
	const VmConfig *web;

	g_assert_no_error(error);
	vms = source_list(source, failures);
	g_assert_cmpuint(vms->len, ==, 1);
	web = vms->pdata[0];
	g_assert_cmpstr(web->name, ==, "web");
	g_assert_cmpstr(web->domain, ==, "web01");
	g_assert_null(web->uuid);
	g_assert_false(vm_config_check(web, &error));
	g_assert_error(error, FLEECE_ERROR, ENOTCONN);
	g_assert_cmpuint(failures->len, ==, 1);
	g_assert_true(source_failed(failures, &missing));
	g_assert_error(missing, FLEECE_ERROR, ENOTCONN);
	g_assert_nonnull(strstr(missing->message, "group [hv]: libvirt: "));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain-group/hosts", test_hosts);
	g_test_add_func("/domain-group/refused", test_refused);
	g_test_add_func("/domain-group/remote", test_remote);
	g_test_add_func("/domain-group/remote-refused", test_remote_refused);
	g_test_add_func("/domain-group/via", test_via);
	g_test_add_func("/domain-group/nobody-there", test_nobody_there);
	return g_test_run();
}
