/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which libvirt is meant, and whether it can be a source. */
#include "domain-uri.h"

#include <errno.h>

#include "domain-host.h"
#include "fleece-error.h"

static const struct {
	const char *uri;
	bool meant; /* as a libvirt */
	int code;   /* 0: it can be a source */
	const char *host; /* the other machine, NULL: none */
} cases[] = {
	{ "qemu:///system", true, 0 },
	{ "qemu:///session", true, 0 },
	{ "qemu:///sys%74em", true, 0 },
	{ "qemu+unix:///system", true, 0 },
	{ "qemu+unix:///system?socket=/run/x%20y", true, 0 },
	{ "qemu:///session?socket=/run/x", true, 0 },

	{ "qemu:/system", true, 0 },
	{ "qemu:///", true, EINVAL },
	{ "qemu://", true, EINVAL },
	{ "qemu:///systems", true, EINVAL },
	{ "qemu:///system/", true, EINVAL },
	{ "qemu:///embed?root=/x", true, EINVAL },
	{ "qemu://[::1/system", true, EINVAL },
	{ "qemu:///%zz", true, EINVAL },

	{ "qemu://host/system", true, 0, "host" },
	{ "qemu+ssh://root@host/system", true, 0, "host" },
	{ "qemu+ssh://host/session?keyfile=/k", true, 0, "host" },
	{ "qemu+libssh2://host/system", true, 0, "host" },
	{ "qemu+tls://host.example.org:1/system", true, 0,
		"host.example.org" },
	{ "qemu+tcp://[fd00::1]/system", true, 0, "fd00::1" },
	{ "qemu+tls://h%6fst/system", true, 0, "host" },

	{ "qemu+unix://host/system", true, EINVAL },
	{ "qemu+ssh:///system", true, EINVAL },
	{ "qemu+tls:///system", true, EINVAL },
	{ "qemu+ext://host/system?command=/x", true, EINVAL },
	{ "qemu+tls://host/", true, EINVAL },
	{ "qemu+://host/", true, EINVAL },

	/* of something else */
	{ "xen:///system", false, EINVAL },
	{ "test:///default", false, EINVAL },
	{ "nbd+unix:///?socket=/x", false, EINVAL },
	{ "qemux:///system", false, EINVAL },
	{ "qemu:system", false, EINVAL },
	{ "qemu:", false, EINVAL },
	{ "/run/qemu:/x", false, EINVAL },
	{ "qemu", false, EINVAL },
	{ "", false, EINVAL },
};

static void test_meant(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("'%s'", cases[i].uri);
		g_assert_cmpint(domain_is_uri(cases[i].uri), ==,
			cases[i].meant);
	}
}

static void test_check(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		bool good = domain_uri_check(cases[i].uri, &error);

		g_test_message("'%s': %s", cases[i].uri,
			error ? error->message : "good");
		g_assert_true(good == !error);
		g_assert_cmpint(error ? error->code : 0, ==, cases[i].code);
		if (error)
			g_assert_true(g_str_has_prefix(error->message,
				cases[i].uri));
		g_assert_true(domain_uri_check(cases[i].uri, NULL) == good);
	}
}

static void test_host(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *host = NULL;

		if (cases[i].code)
			continue;
		host = domain_uri_host(cases[i].uri);
		g_assert_cmpstr(host, ==, cases[i].host);
		g_assert_true(domain_is_remote(cases[i].uri) == !!host);
	}
	g_assert_true(domain_uri_runs_program("qemu+ssh://host/system"));
	g_assert_false(domain_uri_runs_program("qemu+libssh://host/system"));
	g_assert_false(domain_uri_runs_program("qemu:///system"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain-uri/meant", test_meant);
	g_test_add_func("/domain-uri/check", test_check);
	g_test_add_func("/domain-uri/host", test_host);
	return g_test_run();
}
