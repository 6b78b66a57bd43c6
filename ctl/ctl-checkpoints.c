/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-checkpoints.c - the checkpoints in QEMU, listed or deleted
 */
#include <errno.h>
#include <stdio.h>

#include "chain.h"
#include "checkpoint-table.h"
#include "ctl-command.h"
#include "ctl-source.h"
#include "domain-checkpoints.h"
#include "fleece-error.h"
#include "instant.h"
#include "owner.h"
#include "source.h"

static gboolean as_json;
static char *which;
static char *via;

/* What --delete names. */
typedef struct {
	char *chain;       /* NULL: nothing is deleted */
	gint64 instant_ms; /* 0: all of the chain */
	unsigned deleted;
} Deletion;

static bool parse_which(Deletion *deletion, GError **error)
{
	g_auto(GStrv) parts = which ? g_strsplit(which, ".", 2) : NULL;

	if (!which)
		return true;
	if (!parts[0] || !checkpoint_is_chain_name(parts[0]) ||
	    (parts[1] && !instant_from_text(parts[1], &deletion->instant_ms))) {
		fleece_set_error(error, EINVAL, "checkpoints: --delete takes "
			"CHAIN or CHAIN.INSTANT, as in "
			"nightly.20261120T234501123Z, not '%s'", which);
		return false;
	}
	deletion->chain = g_strdup(parts[0]);
	return true;
}

/* A snapshot that stands may still be committed. */
static bool may_be_committed(QmpClient *client, bool *may, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(Owner) owner = owner_read(client, &failure);

	*may = owner && owner_is_alive(owner);
	if (!failure)
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool delete(QmpClient *client, GPtrArray *disks, Deletion *deletion,
	GError **error)
{
	bool alive;

	return may_be_committed(client, &alive, error) &&
		chain_delete(client, disks, deletion->chain,
			deletion->instant_ms, !alive, &deletion->deleted,
			error);
}

static bool do_qemu(const VmConfig *vm, Deletion *deletion,
	CheckpointTable *table, GError **error)
{
	const Monitor monitor = vm_config_monitor(vm);
	g_autoptr(QmpClient) client = monitor_connect(&monitor,
		vm->settings->timeout_ms, error);
	g_autoptr(GPtrArray) disks = client ?
		chain_read(client, vm->name, error) : NULL;

	if (!disks || (deletion->chain &&
		    !delete(client, disks, deletion, error)))
		return false;
	if (!deletion->chain)
		checkpoint_table_add(table, vm->name, disks);
	return true;
}

static bool do_domain(const VmConfig *vm, Deletion *deletion,
	CheckpointTable *table, GError **error)
{
	VirtHost *host = domain_host_virt(vm->host);
	g_autoptr(GPtrArray) disks = NULL;

	if (!vm_config_check(vm, error))
		return false;
	if (vm->settings->via == VIA_MONITOR)
		return do_qemu(vm, deletion, table, error);
	if (deletion->chain)
		return domain_checkpoints_delete(host, vm->uuid,
			deletion->chain, deletion->instant_ms,
			&deletion->deleted, error);
	disks = domain_checkpoints_read(host, vm->uuid, error);
	if (disks)
		checkpoint_table_add(table, vm->name, disks);
	return disks;
}

/* The bitmaps of an NBD server belong to others; those of images that no QEMU
 * has open cannot be had. */
static bool do_vm(const VmConfig *vm, Deletion *deletion,
	CheckpointTable *table, GError **error)
{
	if ((!vm->host && !vm->qmp) ||
	    (vm->host ? do_domain(vm, deletion, table, error) :
			do_qemu(vm, deletion, table, error)))
		return true;
	g_prefix_error(error, "VM %s: ", vm->name);
	return false;
}

/* What can be done is done, whatever fails. */
static bool do_all(const Source *source, Deletion *deletion,
	CheckpointTable *table, GError **error)
{
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(GPtrArray) vms = source_list(source, failures);

	for (guint i = 0; i < vms->len; i++) {
		GError *failure = NULL;

		if (!do_vm(vms->pdata[i], deletion, table, &failure))
			g_ptr_array_add(failures, failure);
	}
	if (!source_failed(failures, error))
		return true;
	g_prefix_error(error, "checkpoints: ");
	return false;
}

static bool check_deleted(const Deletion *deletion, GError **error)
{
	if (!deletion->chain || deletion->deleted)
		return true;
	fleece_set_error(error, ENOENT,
		"checkpoints: there is no checkpoint %s to be deleted", which);
	return false;
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	g_autoptr(CheckpointTable) table = checkpoint_table_new();
	g_autoptr(Source) source = NULL;
	Deletion deletion = { 0 };
	bool done;

	if (!parse_which(&deletion, error))
		return false;
	source = ctl_source_open(words[0], via, error);
	done = source && do_all(source, &deletion, table, error);
	if (source && !deletion.chain)
		checkpoint_table_print(table, as_json, stdout);
	done = done && check_deleted(&deletion, error);
	g_free(deletion.chain);
	return done;
}

static const GOptionEntry options[] = {
	{ "delete", 0, 0, G_OPTION_ARG_STRING, &which, NULL, NULL },
	{ "via", 0, 0, G_OPTION_ARG_STRING, &via, NULL, NULL },
	{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, NULL, NULL },
	{ NULL },
};

const CtlCommand ctl_checkpoints = {
	.name = "checkpoints",
	.arguments = "SOURCE [--delete CHAIN[.INSTANT]] [--json] "
		"[--via=monitor]",
	.summary = "list or delete what increments can start from",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
