/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-control.c - snapshot, commit and release: the words of the control file
 */
#include <errno.h>
#include <string.h>

#include "autofd.h"
#include "ctl-command.h"
#include "ctl-mount.h"
#include "fleece-error.h"
#include "status-json.h"

static gboolean force;

/* NULL where it cannot be read: then an errno has to do. */
static json_object *read_vms(const char *mountpoint)
{
	g_autofree char *text = ctl_mount_status(mountpoint, NULL);
	g_autoptr(json_object) status = text ? status_parse(text, NULL) : NULL;

	return status ? json_object_get(status_array(status, "vms")) : NULL;
}

/* What went wrong last with the VM, to be freed, or NULL. */
static char *last_error(const char *mountpoint, const char *vm)
{
	g_autoptr(json_object) vms = read_vms(mountpoint);

	return vms ? g_strdup(status_text(status_find(vms, "vm", vm),
			     "error")) :
		     NULL;
}

/* What the daemon refuses before it acts, which leaves the VM's last error
 * as it was; NULL for all else. */
static const char *refusal(const char *verb, int errnum)
{
	bool ends = !g_str_equal(verb, "snapshot");

	switch (errnum) {
	case EEXIST:
		return ends ? NULL : "it has a snapshot";
	case ENOENT:
		return ends ? "it has no snapshot" : NULL;
	case EBUSY:
		return ends ? "a file of its snapshot is open, or it is just "
			      "being taken, committed or released" :
			      NULL;
	default:
		return NULL;
	}
}

/* An error of the VM may be that of an earlier command: it is believed where
 * it is new, or where nothing else explains the errno. */
static char *explain(const char *verb, const char *vm, int errnum,
	const char *before, const char *after)
{
	g_autofree char *prefix = g_strdup_printf("VM %s: ", vm);
	const char *refused = refusal(verb, errnum);

	if (!after || (refused && g_strcmp0(before, after) == 0))
		return g_strdup(refused ? refused : g_strerror(errnum));
	if (g_str_has_prefix(after, prefix))
		after += strlen(prefix);
	return g_strdup(after);
}

/* To be freed.  before is the VM's last error from before the command. */
static char *why_failed(const char *mountpoint, const char *verb,
	const char *vm, int errnum, const char *before)
{
	g_autoptr(json_object) vms = read_vms(mountpoint);
	json_object *entry = vms ? status_find(vms, "vm", vm) : NULL;

	if (errnum == ENOENT && vms && !entry)
		return g_strdup("there is no such VM");
	return explain(verb, vm, errnum, before, status_text(entry, "error"));
}

static char *command_line(const char *verb, const char *vm)
{
	g_autofree char *quoted = g_shell_quote(vm);

	return g_strjoin(" ", verb, quoted, force ? "--force" : NULL, NULL);
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	const char *mountpoint = words[0], *vm = words[1];
	g_autofree char *line = command_line(self->name, vm);
	g_autofree char *before = NULL, *why = NULL;
	AUTOFD int control = -1;
	int errnum;

	if (!ctl_mount_check(mountpoint, error))
		return false;
	control = ctl_mount_open_control(mountpoint, error);
	if (control < 0)
		return false;
	before = last_error(mountpoint, vm);
	errnum = ctl_mount_command(control, line);
	if (errnum == 0)
		return true;
	why = why_failed(mountpoint, self->name, vm, errnum, before);
	fleece_set_error(error, errnum, "%s %s: %s", self->name, vm, why);
	return false;
}

static const GOptionEntry options[] = {
	{ "force", 0, 0, G_OPTION_ARG_NONE, &force, NULL, NULL },
	{ NULL },
};

const CtlCommand ctl_snapshot = {
	.name = "snapshot",
	.arguments = "MNT VM",
	.summary = "take the VM's snapshot",
	.min_words = 2,
	.max_words = 2,
	.run = run,
};

const CtlCommand ctl_commit = {
	.name = "commit",
	.arguments = "MNT VM [--force]",
	.summary = "let the next increment start from this snapshot",
	.options = options,
	.min_words = 2,
	.max_words = 2,
	.run = run,
};

const CtlCommand ctl_release = {
	.name = "release",
	.arguments = "MNT VM [--force]",
	.summary = "end the VM's snapshot, with --force under its readers",
	.options = options,
	.min_words = 2,
	.max_words = 2,
	.run = run,
};
