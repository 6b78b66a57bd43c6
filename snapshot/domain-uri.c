/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-uri.h"

#include <errno.h>
#include <string.h>

#include "domain-host.h"
#include "fleece-error.h"

/* What reaches another machine. */
static const char *const far[] = { "qemu", "qemu+tls", "qemu+tcp", "qemu+ssh",
	"qemu+libssh", "qemu+libssh2", NULL };

static bool split(const char *uri, char **scheme, char **host, char **path,
	GError **error)
{
	return g_uri_split(uri, G_URI_FLAGS_ENCODED, scheme, NULL, host, NULL,
		path, NULL, NULL, error);
}

bool domain_is_uri(const char *spec)
{
	g_autofree char *scheme = g_uri_parse_scheme(spec);

	return scheme && strstr(spec, ":/") &&
		(g_str_equal(scheme, "qemu") ||
			g_str_has_prefix(scheme, "qemu+"));
}

bool domain_is_remote(const char *uri)
{
	g_autofree char *host = domain_uri_host(uri);

	return host;
}

char *domain_uri_host(const char *uri)
{
	g_autofree char *scheme = NULL;
	g_autofree char *host = NULL;

	if (!split(uri, &scheme, &host, NULL, NULL) || !host || !host[0])
		return NULL;
	return g_uri_unescape_string(host, NULL);
}

bool domain_uri_runs_program(const char *uri)
{
	g_autofree char *scheme = g_uri_parse_scheme(uri);

	return g_strcmp0(scheme, "qemu+ssh") == 0;
}

static bool refuse(const char *uri, GError **error)
{
	fleece_set_error(error, EINVAL, "%s: no libvirt URI, as "
		"qemu:///system, qemu:///session or qemu+tls://HOST/system",
		uri);
	return false;
}

static bool is_known(const char *scheme, const char *host)
{
	if (host && host[0])
		return g_strv_contains(far, scheme);
	return g_str_equal(scheme, "qemu") || g_str_equal(scheme, "qemu+unix");
}

bool domain_uri_check(const char *uri, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *scheme = NULL;
	g_autofree char *host = NULL;
	g_autofree char *path = NULL;

	if (!domain_is_uri(uri))
		return refuse(uri, error);
	if (!split(uri, &scheme, &host, &path, &failure)) {
		fleece_set_error(error, EINVAL, "%s: %s", uri,
			failure->message);
		return false;
	}
	return (is_known(scheme, host) && (g_str_equal(path, "/system") ||
		g_str_equal(path, "/session"))) || refuse(uri, error);
}
