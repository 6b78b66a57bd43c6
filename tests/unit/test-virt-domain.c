/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be asked of a domain and done to it. */
#include "virt-domain.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-rig.h"

#define NOBODY "00000000-0000-4000-8000-000000000000"
#define DISK "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"

static VirtHost *rig(void)
{
	return virt_rig_new("", DISK);
}

static void test_list(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autoptr(GPtrArray) domains = virt_domains(host, NULL);
	const VirtDomain *domain;

	g_assert_nonnull(domains);
	g_assert_cmpuint(domains->len, ==, 1);
	domain = domains->pdata[0];
	g_assert_cmpstr(domain->name, ==, "vm");
	g_assert_cmpstr(domain->uuid, ==, VIRT_RIG_UUID);
	g_assert_cmpuint(virt_domain_number(host, VIRT_RIG_UUID), >, 0);
	g_assert_cmpuint(virt_domain_number(host, NOBODY), ==, 0);
}

/* It is listed all the same, and has the XML that it would start with. */
static void test_off(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autoptr(GPtrArray) domains = NULL;
	g_autofree char *xml = NULL;
	bool off = true;

	g_assert_true(virt_domain_is_off(host, VIRT_RIG_UUID, &off, NULL));
	g_assert_false(off);
	virt_rig_shut_off(host);
	g_assert_true(virt_domain_is_off(host, VIRT_RIG_UUID, &off, NULL));
	g_assert_true(off);
	domains = virt_domains(host, NULL);
	g_assert_nonnull(domains);
	g_assert_cmpuint(domains->len, ==, 1);
	xml = virt_domain_xml(host, VIRT_RIG_UUID, NULL);
	g_assert_nonnull(xml);
	g_assert_true(g_str_has_prefix(xml, "<domain type='test'>"));
}

static void assert_state(VirtHost *host, enum virt_state expected)
{
	enum virt_state state;
	g_autoptr(GError) error = NULL;

	g_assert_true(virt_domain_state(host, VIRT_RIG_UUID, &state, &error));
	g_assert_no_error(error);
	g_assert_cmpint(state, ==, expected);
}

static void test_state(void)
{
	g_autoptr(VirtHost) host = rig();

	assert_state(host, VIRT_STATE_RUNS);
	g_assert_true(virt_domain_suspend(host, VIRT_RIG_UUID, 0, NULL));
	assert_state(host, VIRT_STATE_PAUSED);
	g_assert_true(virt_domain_resume(host, VIRT_RIG_UUID, 0, NULL));
	assert_state(host, VIRT_STATE_RUNS);
}

static void test_facts(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autofree char *xml = virt_domain_xml(host, VIRT_RIG_UUID, NULL);
	g_autoptr(GError) error = NULL;
	uint64_t size = 0;

	g_assert_nonnull(xml);
	g_assert_true(g_str_has_prefix(xml, "<domain type='test' id="));
	g_assert_true(virt_domain_capacity(host, VIRT_RIG_UUID, "vda", &size,
		NULL));
	g_assert_cmpuint(size, ==, VIRT_RIG_CAPACITY);
	g_assert_false(virt_domain_capacity(host, VIRT_RIG_UUID, "vdz", &size,
		&error));
	g_assert_error(error, FLEECE_ERROR, EIO);
}

/* --- the note --- */

static void assert_note(VirtHost *host, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *note = virt_domain_get_note(host, VIRT_RIG_UUID,
		&error);

	g_assert_no_error(error);
	g_assert_cmpstr(note, ==, expected);
}

/* It comes back as it was, whatever is in it. */
static void test_note(void)
{
	static const char *const notes[] = { "boot=b;pid=1;state=frozen", "a",
		"", " a  b ", "<owner>", "</owner>", "a&b", "&lt;", "'\"]]>",
		"\xc3\xbc" };
	g_autoptr(VirtHost) host = rig();

	assert_note(host, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(notes); i++) {
		g_test_message("'%s'", notes[i]);
		g_assert_true(virt_domain_set_note(host, VIRT_RIG_UUID,
			notes[i], NULL));
		assert_note(host, notes[i]);
	}
	g_assert_true(virt_domain_set_note(host, VIRT_RIG_UUID, NULL, NULL));
	assert_note(host, NULL);
}

/* --- a domain, and a libvirt, that is not there --- */

static void assert_refused(bool done, GError **error, int code)
{
	g_assert_false(done);
	g_assert_error(*error, FLEECE_ERROR, code);
	g_assert_true(g_str_has_prefix((*error)->message, "libvirt: "));
	g_clear_error(error);
}

static void refuse_everything(VirtHost *host, int code)
{
	g_autoptr(GError) error = NULL;
	enum virt_state state;
	unsigned count;
	uint64_t size;
	bool off;

	assert_refused(virt_domain_is_off(host, NOBODY, &off, &error), &error,
		code);
	assert_refused(virt_domain_state(host, NOBODY, &state, &error), &error,
		code);
	assert_refused(virt_domain_suspend(host, NOBODY, 0, &error), &error,
		code);
	assert_refused(virt_domain_resume(host, NOBODY, 0, &error), &error,
		code);
	assert_refused(virt_domain_wait_idle(host, NOBODY, 0, &error), &error,
		code);
	assert_refused(virt_domain_xml(host, NOBODY, &error), &error, code);
	assert_refused(virt_domain_capacity(host, NOBODY, "vda", &size,
		&error), &error, code);
	assert_refused(virt_domain_freeze(host, NOBODY, 1, &count, &error),
		&error, code);
	assert_refused(virt_domain_thaw(host, NOBODY, 1, &count, &error),
		&error, code);
	assert_refused(virt_domain_set_note(host, NOBODY, "", &error), &error,
		code);
	assert_refused(virt_domain_get_note(host, NOBODY, &error), &error,
		code);
}

static void test_no_domain(void)
{
	g_autoptr(VirtHost) host = rig();

	refuse_everything(host, ENOENT);
}

static void test_no_libvirt(void)
{
	static const char *const uris[] = {
		"qemu+unix:///system?socket=/nonexistent/sock",
		"nonexistent:///system" };

	for (unsigned i = 0; i < G_N_ELEMENTS(uris); i++) {
		g_autoptr(VirtHost) host = virt_host_new(uris[i], NULL, NULL);
		g_autoptr(GError) error = NULL;

		assert_refused(virt_domains(host, &error), &error, ENOTCONN);
		refuse_everything(host, ENOTCONN);
		g_assert_cmpuint(virt_host_qemu_version(host), ==, 0);
		g_assert_cmpstr(virt_host_uri(host), ==, uris[i]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virt-domain/list", test_list);
	g_test_add_func("/virt-domain/off", test_off);
	g_test_add_func("/virt-domain/state", test_state);
	g_test_add_func("/virt-domain/facts", test_facts);
	g_test_add_func("/virt-domain/note", test_note);
	g_test_add_func("/virt-domain/no-domain", test_no_domain);
	g_test_add_func("/virt-domain/no-libvirt", test_no_libvirt);
	return g_test_run();
}
