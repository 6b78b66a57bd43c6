/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-make.c - the ways to a snapshot */
#include "vm-struct.h"

#include "attach.h"
#include "fleece.h"
#include "image-host.h"

/* What an earlier snapshot could not take away goes before a new one. */
static bool ready_undo(Vm *vm, GError **error)
{
	const VmConfig *config = vm->config;
	unsigned timeout = config->settings->timeout_ms;
	const Monitor monitor = vm_config_monitor(config);

	if (vm->undo)
		return undo_list_run_at(vm->undo, &monitor, timeout, error);
	vm->undo = guardian_undo_list(vm->context->guardian, config->name,
		&monitor, timeout, error);
	return vm->undo != NULL;
}

/* A way to a snapshot: to have QEMU make it. */
static Fleece *build(Vm *vm, GError **error)
{
	const Monitor monitor = vm_config_monitor(vm->config);
	FleeceRequest request = {
		.vm = vm->config->name,
		.monitor = &monitor,
		.settings = vm->config->settings,
		.guardian = vm->context->guardian,
		.loops = vm->context->loops,
		.n_loops = vm->context->n_loops,
	};

	if (!ready_undo(vm, error))
		return NULL;
	request.undo = vm->undo;
	return fleece_new(&request, error);
}

DomainRequest vm_domain_request(const Vm *vm)
{
	return (DomainRequest){
		.vm = vm->config->name,
		.domain = vm->config->domain,
		.uuid = vm->config->uuid,
		.host = vm->config->host,
		.settings = vm->config->settings,
		.guardian = vm->context->guardian,
		.starter = vm->context->starter,
		.undo = vm->undo,
		.loops = vm->context->loops,
		.n_loops = vm->context->n_loops,
	};
}

/* Another: libvirt has QEMU make it. */
static Fleece *build_domain(Vm *vm, GError **error)
{
	DomainRequest request;

	if (!vm_config_check(vm->config, error) || !ready_undo(vm, error))
		return NULL;
	request = vm_domain_request(vm);
	return domain_fleece_new(&request, error);
}

/* The third: others have made it, and show it over NBD. */
static Fleece *attach(const Vm *vm, const char *uri, GError **error)
{
	AttachRequest request = {
		.vm = vm->config->name,
		.uri = uri,
		.images = vm->config->images,
		.settings = vm->config->settings,
		.loops = vm->context->loops,
		.n_loops = vm->context->n_loops,
	};

	return attach_new(&request, error);
}

/* The fourth: nobody writes, as long as its images are open. */
static Fleece *read_images(const Vm *vm, GError **error)
{
	const VmConfig *config = vm->config;
	g_autoptr(ImageHost) host = image_host_new(vm->context->starter,
		config->name, config->images, config->settings->timeout_ms,
		error);
	Fleece *fleece = host ? attach(vm, image_host_uri(host), error) : NULL;

	if (fleece)
		fleece->images = g_steal_pointer(&host);
	return fleece;
}

Snapshot *vm_make(Vm *vm, GError **error)
{
	const VmConfig *config = vm->config;
	Fleece *fleece = config->nbd ? attach(vm, config->nbd, error) :
		config->images ? read_images(vm, error) :
		config->host ? build_domain(vm, error) : build(vm, error);

	return fleece ? snapshot_new_take(vm->config->name, fleece) : NULL;
}

bool vm_unmake(Vm *vm, const Snapshot *snapshot, GError **error)
{
	unsigned timeout = vm->config->settings->timeout_ms;
	const Fleece *fleece = snapshot_fleece(snapshot);
	const Monitor monitor = vm_config_monitor(vm->config);

	if (fleece->images)
		return image_host_end(fleece->images, error);
	if (!monitor.at)
		return true;
	return monitor_speaks_qmp(&monitor) ?
		fleece_undo(vm->undo, &monitor, timeout, error) :
		undo_list_run_at(vm->undo, &monitor, timeout, error);
}
