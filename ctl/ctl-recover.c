/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-recover.c - undoes what a killed fleecefs left in QEMU
 */
#include <errno.h>

#include "chain.h"
#include "ctl-command.h"
#include "domain-fleece.h"
#include "fleece-error.h"
#include "recover.h"
#include "source.h"

static gboolean force;

/* What is pending belongs to nobody where no owner is left. */
static bool recover_over(QmpClient *client, const char *vm, GError **error)
{
	bool teardown;

	return (force ? recover_by_force(client, vm, error) :
			recover(client, vm, &teardown, error)) &&
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
	g_autoptr(GError) failure = NULL;
	g_autoptr(QmpClient) client = qmp_client_connect(vm->qmp,
		vm->settings->timeout_ms, &failure);

	if (client ? recover_over(client, vm->name, &failure) :
		     is_gone(failure))
		return true;
	g_propagate_prefixed_error(error, g_steal_pointer(&failure),
		"recover: VM %s: ", vm->name);
	return false;
}

static bool recover_domain(const VmConfig *vm, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (vm_config_check(vm, &failure))
		return domain_recover(domain_host_virt(vm->host), vm->name,
			vm->uuid, force, vm->settings->timeout_ms, error);
	if (is_gone(failure))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

static bool recover_vm(const VmConfig *vm, GError **error)
{
	if (vm->qmp)
		return recover_qemu(vm, error);
	if (!vm->host)
		return true; /* nothing is made where nobody's QEMU is */
	if (recover_domain(vm, error))
		return true;
	g_prefix_error(error, "recover: VM %s: ", vm->name);
	return false;
}

static bool run(const CtlCommand *self, char **words, GError **error)
{
	g_autoptr(Settings) settings = settings_new();
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(Source) source = source_new(words[0], NULL, NULL, settings,
		error);
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
	{ NULL },
};

const CtlCommand ctl_recover = {
	.name = "recover",
	.arguments = "SOURCE [--force]",
	.summary = "undo what a killed fleecefs left in QEMU",
	.options = options,
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
