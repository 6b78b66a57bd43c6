/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-nbd.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "source.h"

bool source_is_nbd(const char *spec)
{
	static const char *const schemes[] = { "nbd", "nbds", "nbd+unix",
		"nbds+unix", NULL };
	g_autofree char *scheme = g_uri_parse_scheme(spec);

	return scheme && strstr(spec, "://") &&
		g_strv_contains(schemes, scheme);
}

/* libnbd looks at the rest; a daemon is not where it was started. */
bool source_nbd_check(const char *uri, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(GHashTable) query = NULL;
	g_autofree char *text = NULL;
	const char *socket;

	if (!source_is_nbd(uri)) {
		fleece_set_error(error, EINVAL, "%s: no NBD URI, as "
			"nbd+unix:///EXPORT?socket=PATH or "
			"nbd://HOST:PORT/EXPORT", uri);
		return false;
	}
	if (g_uri_split(uri, G_URI_FLAGS_ENCODED, NULL, NULL, NULL, NULL, NULL,
		    &text, NULL, &failure))
		query = g_uri_parse_params(text ? text : "", -1, "&;",
			G_URI_PARAMS_NONE, &failure);
	if (!query) {
		fleece_set_error(error, EINVAL, "%s: %s", uri,
			failure->message);
		return false;
	}
	socket = g_hash_table_lookup(query, "socket");
	if (!socket || g_path_is_absolute(socket))
		return true;
	fleece_set_error(error, EINVAL, "%s: socket= must be an absolute path",
		uri);
	return false;
}
