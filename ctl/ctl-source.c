/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl-source.h"

#include <errno.h>

#include "domain-host.h"
#include "fleece-error.h"
#include "source-words.h"

static bool take_via(Settings *settings, const char *spec, const char *via,
	GError **error)
{
	static const char *const words[] = { "via", NULL };
	const char *accepted;

	if (!via)
		return true;
	accepted = settings_set(settings, "via", via);
	if (accepted) {
		fleece_set_error(error, EINVAL, "bad option '--via=%s': %s is "
			"accepted", via, accepted);
		return false;
	}
	return g_file_test(spec, G_FILE_TEST_IS_REGULAR) ||
		source_words_check(words, domain_is_uri(spec) ||
			source_is_nbd(spec) ? spec : NULL, settings, error);
}

Source *ctl_source_open(const char *spec, const char *via, GError **error)
{
	g_autoptr(Settings) settings = settings_new();

	return take_via(settings, spec, via, error) ?
		source_new(spec, NULL, NULL, settings, error) : NULL;
}
