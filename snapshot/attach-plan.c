/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach-plan.h"

#include <errno.h>

#include "fleece-error.h"

/* A line is to be read by people. */
#define NAMES_SHOWN 16

const char *attach_disk_id(const char *name)
{
	return name[0] ? name : "disk";
}

char *attach_list_names(const GPtrArray *names)
{
	GString *text = g_string_new(names->len ? NULL : "none");

	for (guint i = 0; i < names->len && i < NAMES_SHOWN; i++)
		g_string_append_printf(text, "%s'%s'", i ? ", " : "",
			(const char *)names->pdata[i]);
	if (names->len > NAMES_SHOWN)
		g_string_append_printf(text, " and %u others",
			names->len - NAMES_SHOWN);
	return g_string_free(text, FALSE);
}

/* Adds the names of export's bitmaps that settings allow. */
static void add_matching(const NbdExportFacts *export,
	const Settings *settings, GPtrArray *names)
{
	for (guint i = 0; i < export->bitmaps->len; i++) {
		if (globs_match(settings->bitmap, export->bitmaps->pdata[i]))
			g_ptr_array_add(names, export->bitmaps->pdata[i]);
	}
}

static bool choose(const NbdExportFacts *export, const Settings *settings,
	const char **bitmap, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *text = NULL;

	add_matching(export, settings, names);
	*bitmap = names->len ? names->pdata[0] : NULL;
	if (names->len <= 1)
		return true;
	text = attach_list_names(names);
	fleece_set_error(error, EINVAL, "disk %s: choose one of its bitmaps "
		"with bitmap=, of %s", attach_disk_id(export->name), text);
	return false;
}

static bool fail_without_bitmap(const GPtrArray *exports,
	const Settings *settings, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *text = NULL;

	for (guint i = 0; i < exports->len; i++) {
		const NbdExportFacts *export = exports->pdata[i];

		for (guint k = 0; k < export->bitmaps->len; k++)
			g_ptr_array_add(names, export->bitmaps->pdata[k]);
	}
	text = attach_list_names(names);
	fleece_set_error(error, ENOENT, "no disk has a bitmap '%s'; there are: "
		"%s", settings->bitmap, text);
	return false;
}

bool attach_plan_bitmaps(const GPtrArray *exports, const Settings *settings,
	const char **bitmaps, GError **error)
{
	bool any = false;

	for (guint i = 0; i < exports->len; i++) {
		if (!choose(exports->pdata[i], settings, &bitmaps[i], error))
			return false;
		any = any || bitmaps[i];
	}
	return any || !settings->bitmap ||
		fail_without_bitmap(exports, settings, error);
}

bool attach_plan_check(const GPtrArray *exports, const Settings *settings,
	GError **error)
{
	for (guint i = 0; i < exports->len; i++) {
		const NbdExportFacts *export = exports->pdata[i];
		const char *id = attach_disk_id(export->name);

		if ((settings->discard || settings->read_once) &&
			!export->can_trim) {
			fleece_set_error(error, EOPNOTSUPP, "disk %s: option "
				"'%s' needs a server that takes trims, "
				"and this export takes none", id,
				settings->discard ? "discard" : "read_once");
			return false;
		}
	}
	return true;
}
