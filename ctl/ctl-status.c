/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-status.c - what is going on in a mount
 */
#include <errno.h>
#include <stdio.h>

#include "ctl-command.h"
#include "ctl-mount.h"
#include "fleece-error.h"
#include "log.h"
#include "status-json.h"
#include "status-table.h"

static gboolean as_json;

/* The whole is printed as it came. */
static void print_json(const char *text, json_object *only)
{
	if (!only)
		fputs(text, stdout);
	else
		puts(json_object_to_json_string_ext(only,
			JSON_C_TO_STRING_PRETTY |
				JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_line(json_object *text)
{
	const char *raw = json_object_get_string(text);
	g_autofree char *line = log_line(raw ? raw : "");

	printf("unreachable: %s\n", line);
}

/* Of a VM that is behind it nothing is known. */
static void print_unreachable(json_object *status)
{
	json_object *texts = status_array(status, "unreachable");

	for (size_t i = 0; texts && i < json_object_array_length(texts); i++)
		print_line(json_object_array_get_idx(texts, i));
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	const char *mountpoint = words[0], *name = words[1];
	g_autofree char *text = NULL;
	g_autoptr(json_object) status = NULL;
	json_object *vms, *only = NULL;

	if (!ctl_mount_check(mountpoint, error))
		return false;
	text = ctl_mount_status(mountpoint, error);
	status = text ? status_parse(text, error) : NULL;
	if (!status)
		return false;
	vms = status_array(status, "vms");
	if (name)
		only = status_find(vms, "vm", name);
	if (name && !only) {
		fleece_set_error(error, ENOENT,
			"status %s: there is no such VM", name);
		return false;
	}
	if (as_json)
		print_json(text, only);
	else
		status_table_print(vms, only, stdout);
	if (!as_json && !only)
		print_unreachable(status);
	return true;
}

static const GOptionEntry options[] = {
	{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, NULL, NULL },
	{ NULL },
};

const CtlCommand ctl_status = {
	.name = "status",
	.arguments = "MNT [VM] [--json]",
	.summary = "what is going on, as a table or as JSON",
	.options = options,
	.min_words = 1,
	.max_words = 2,
	.run = run,
};
