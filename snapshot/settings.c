/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "settings.h"

Settings *settings_new(void)
{
	Settings *settings = g_new0(Settings, 1);

	settings->scratch = g_strdup("/var/tmp");
	settings->method = METHOD_AUTO;
	settings->cbw_timeout = 10;
	settings->timeout_ms = 30 * 1000;
	settings->read_timeout_ms = 60 * 1000;
	settings->connections = 2;
	return settings;
}

Settings *settings_copy(const Settings *settings)
{
	Settings *copy = g_memdup2(settings, sizeof *settings);

	copy->disks = g_strdup(settings->disks);
	copy->scratch = g_strdup(settings->scratch);
	return copy;
}

void settings_free(Settings *settings)
{
	if (!settings)
		return;
	g_free(settings->disks);
	g_free(settings->scratch);
	g_free(settings);
}

static const char *const method_names[] = {
	[METHOD_AUTO] = "auto",
	[METHOD_FILTER] = "filter",
	[METHOD_JOB] = "job",
};

bool method_from_text(const char *text, enum method *method)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(method_names); i++) {
		if (g_str_equal(text, method_names[i])) {
			*method = i;
			return true;
		}
	}
	return false;
}

const char *method_to_text(enum method method)
{
	return method_names[method];
}

bool globs_match(const char *globs, const char *name)
{
	g_auto(GStrv) list = NULL;

	if (!globs)
		return true;
	list = g_strsplit(globs, ":", -1);
	for (char **glob = list; *glob; glob++) {
		if (g_pattern_match_simple(*glob, name))
			return true;
	}
	return false;
}
