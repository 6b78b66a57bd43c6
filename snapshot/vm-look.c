/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-look.c - how a domain's snapshot is, and what is left of one */
#include "vm-struct.h"

#include "fleece.h"

/* One that did not say how much scratch it takes is left alone so long: to ask
 * has its QEMU asked, which may hang. */
#define ASK_AGAIN_US (30 * G_TIME_SPAN_SECOND)
/* What could not be undone though libvirt answers is tried again so much later,
 * and not for long: its QEMU hangs, and each call that is given up keeps a
 * thread of libvirtd's. */
#define SETTLE_AGAIN_US (60 * G_TIME_SPAN_SECOND)
#define SETTLE_MS 2000

static void look_at_scratch(Vm *vm, Snapshot *snapshot)
{
	gint64 now = g_get_monotonic_time();
	uint64_t used;

	if (!vm_is_remote(vm) || now < vm->ask_again)
		return;
	if (domain_scratch_used(vm->config->host, vm->config->uuid, &used))
		snapshot_set_remote_scratch(snapshot, used);
	else
		vm->ask_again = now + ASK_AGAIN_US;
}

static bool begin_settle(Vm *vm)
{
	bool begun;

	if (g_get_monotonic_time() < vm->settle_again)
		return false;
	g_mutex_lock(&vm->lock);
	begun = vm->owes && !vm->busy;
	vm->busy |= begun;
	vm->settling = begun;
	g_mutex_unlock(&vm->lock);
	return begun;
}

static bool end_settle(Vm *vm)
{
	bool owes;

	g_mutex_lock(&vm->lock);
	owes = vm->owes = vm_is_owing(vm);
	vm->busy = vm->settling = false;
	g_cond_broadcast(&vm->settled);
	g_mutex_unlock(&vm->lock);
	return owes;
}

/* Its guest may stand still, or be frozen. */
static void settle(Vm *vm)
{
	const Monitor monitor = vm_config_monitor(vm->config);

	if (!begin_settle(vm))
		return;
	undo_list_run_at(vm->undo, &monitor,
		MIN(vm->config->settings->timeout_ms, SETTLE_MS), NULL);
	if (end_settle(vm))
		vm->settle_again = g_get_monotonic_time() + SETTLE_AGAIN_US;
	else
		g_message("VM %s: what was left of its snapshot is undone",
			vm->config->name);
}

static bool still_owes(Vm *vm)
{
	bool owes;

	g_mutex_lock(&vm->lock);
	owes = vm->owes;
	g_mutex_unlock(&vm->lock);
	return owes;
}

/* With via=monitor, no scratch stops a guest. */
static bool may_be_stuck(const Vm *vm)
{
	return vm->config->settings->via != VIA_MONITOR;
}

bool vm_look(Vm *vm, bool *answers)
{
	g_autoptr(Snapshot) snapshot = NULL;

	settle(vm);
	snapshot = vm_snapshot(vm);
	if (!snapshot)
		return still_owes(vm);
	if (!may_be_stuck(vm) || snapshot_fleece(snapshot)->images ||
	    snapshot_get_state(snapshot, NULL) != SNAPSHOT_LIVE)
		return false;
	if (domain_is_stuck(vm->config->host, vm->config->uuid, answers))
		snapshot_break(snapshot, "the guest was stopped because a "
			"write failed: the scratch is full, or its own disk");
	else if (*answers)
		look_at_scratch(vm, snapshot);
	return true;
}
