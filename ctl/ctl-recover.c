/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-recover.c - undoes what a killed fleecefs left in QEMU
 */
#include <errno.h>

#include "chain.h"
#include "ctl-command.h"
#include "ctl-source.h"
#include "domain-fleece.h"
#include "fleece-error.h"
#include "recover.h"
#include "source.h"

static gboolean force;
static char *via;

/* What is pending belongs to nobody where no owner is left. */
static bool recover_over(QmpClient *client, const Monitor *monitor,
	const char *vm, GError **error)
{
	bool teardown;

	return (force ? recover_by_force(client, monitor, vm, error) :
			recover(client, monitor, vm, &teardown, error)) &&
		chain_drop_pending(client, vm, error);
}

/* A QEMU that has ended has nothing of ours. */
static bool is_gone(const GError *error)
{
	return g_error_matches(error, FLEECE_ERROR, ENOENT) ||
		g_error_matches(error, FLEECE_ERROR, ECONNREFUSED);
}

static bool recover_qemu(const VmConfig *vm, GError **error)
{
	const Monitor monitor = vm_config_monitor(vm);
	g_autoptr(GError) failure = NULL;
	g_autoptr(QmpClient) client = monitor_connect(&monitor,
		vm->settings->timeout_ms, &failure);

	if (client ? recover_over(client, &monitor, vm->name, &failure) :
		     is_gone(failure))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool recover_domain(const VmConfig *vm, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (vm_config_check(vm, &failure))
		return domain_recover(domain_host_virt(vm->host), vm->name,
			       vm->uuid, force, vm->settings->timeout_ms,
			       error) &&
			(vm->settings->via != VIA_MONITOR ||
				recover_qemu(vm, error));
	if (is_gone(failure))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool recover_vm(const VmConfig *vm, GError **error)
{
	/* nothing is made where nobody's QEMU is */
	if ((!vm->qmp && !vm->host) ||
	    (vm->qmp ? recover_qemu(vm, error) : recover_domain(vm, error)))
		return true;
	g_prefix_error(error, "recover: VM %s: ", vm->name);
	return false;
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(Source) source = ctl_source_open(words[0], via, error);
	g_autoptr(GPtrArray) vms = source ? source_list(source, failures) :
					    NULL;

	for (guint i = 0; vms && i < vms->len; i++) {
		GError *failure = NULL;

		if (!recover_vm(vms->pdata[i], &failure))
			g_ptr_array_add(failures, failure);
	}
	return vms && !source_failed(failures, error);
}

static const GOptionEntry options[] = {
	{ "force", 0, 0, G_OPTION_ARG_NONE, &force, NULL, NULL },
	{ "via", 0, 0, G_OPTION_ARG_STRING, &via, NULL, NULL },
	{ NULL },
};

const CtlCommand ctl_recover = {
	.name = "recover",
	.arguments = "SOURCE [--force] [--via=monitor]",
	.summary = "undo what a killed fleecefs left in QEMU",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
