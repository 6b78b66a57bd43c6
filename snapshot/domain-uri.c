/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-uri.h"

#include <errno.h>
#include <string.h>

#include "domain-host.h"
#include "fleece-error.h"

bool domain_is_uri(const char *spec)
{
	g_autofree char *scheme = g_uri_parse_scheme(spec);

	return scheme && strstr(spec, ":/") &&
		(g_str_equal(scheme, "qemu") ||
			g_str_has_prefix(scheme, "qemu+"));
}

/* The disks are shown at a unix socket beside QEMU. */
static bool is_local(const char *scheme, const char *host)
{
	return (!host || !host[0]) && (g_str_equal(scheme, "qemu") ||
		g_str_equal(scheme, "qemu+unix"));
}

bool domain_is_remote(const char *uri)
{
	g_autofree char *scheme = NULL;
	g_autofree char *host = NULL;

	return g_uri_split(uri, G_URI_FLAGS_ENCODED, &scheme, NULL, &host,
		       NULL, NULL, NULL, NULL, NULL) &&
		!is_local(scheme, host);
}

static bool refuse(const char *uri, GError **error)
{
	fleece_set_error(error, EINVAL, "%s: no libvirt URI, as "
		"qemu:///system or qemu:///session", uri);
	return false;
}

bool domain_uri_check(const char *uri, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *scheme = NULL;
	g_autofree char *host = NULL;
	g_autofree char *path = NULL;

	if (!domain_is_uri(uri))
		return refuse(uri, error);
	if (!g_uri_split(uri, G_URI_FLAGS_ENCODED, &scheme, NULL, &host, NULL,
		    &path, NULL, NULL, &failure)) {
		fleece_set_error(error, EINVAL, "%s: %s", uri,
			failure->message);
		return false;
	}
	if (!is_local(scheme, host)) {
		fleece_set_error(error, ENOTSUP, "%s: the disks are shown at "
			"a socket on the machine of their QEMU, so it has to "
			"be this one: qemu:///system, qemu:///session or "
			"qemu+unix:///system?socket=PATH", uri);
		return false;
	}
	return g_strcmp0(path, "/system") == 0 ||
		g_strcmp0(path, "/session") == 0 || refuse(uri, error);
}
