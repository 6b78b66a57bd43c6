/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-struct.h"

#include <errno.h>

#include "commit.h"
#include "domain-fleece.h"
#include "fleece-error.h"
#include "scratch-probe.h"

/* How long one attempt to take out what broke waits for scratch. */
#define BREAK_MS 1000

Vm *vm_new(const VmConfig *config, const VmContext *context)
{
	Vm *vm = g_new0(Vm, 1);

	vm->config = vm_config_copy(config);
	vm->context = context;
	g_mutex_init(&vm->lock);
	g_cond_init(&vm->settled);
	return vm;
}

void vm_free(Vm *vm)
{
	if (!vm)
		return;
	g_assert(!vm->snapshot && !vm->busy);
	vm_config_free(vm->config);
	undo_list_free(vm->undo);
	g_mutex_clear(&vm->lock);
	g_cond_clear(&vm->settled);
	g_free(vm->error);
	g_free(vm);
}

const char *vm_name(const Vm *vm)
{
	return vm->config->name;
}

Snapshot *vm_snapshot(Vm *vm)
{
	Snapshot *snapshot;

	g_mutex_lock(&vm->lock);
	snapshot = vm->snapshot ? snapshot_ref(vm->snapshot) : NULL;
	g_mutex_unlock(&vm->lock);
	return snapshot;
}

char *vm_error(Vm *vm)
{
	char *error;

	g_mutex_lock(&vm->lock);
	error = g_strdup(vm->error);
	g_mutex_unlock(&vm->lock);
	return error;
}

/* Waits for what nobody has asked for. */
static int begin_take(Vm *vm)
{
	int error = 0;

	g_mutex_lock(&vm->lock);
	while (vm->settling)
		g_cond_wait(&vm->settled, &vm->lock);
	if (vm->retired)
		error = ESTALE;
	else if (vm->busy)
		error = EBUSY;
	else if (vm->snapshot)
		error = EEXIST;
	else
		vm->busy = true;
	g_mutex_unlock(&vm->lock);
	return error;
}

/* A domain that does not run has no UUID: nothing says that it is another. */
bool vm_is_of(const Vm *vm, const VmConfig *config)
{
	return g_strcmp0(vm->config->qmp, config->qmp) == 0 &&
		vm->config->host == config->host && (!config->uuid ||
			g_strcmp0(vm->config->uuid, config->uuid) == 0);
}

bool vm_retire(Vm *vm)
{
	bool retired;

	g_mutex_lock(&vm->lock);
	vm->retired = retired = !vm->busy && !vm->snapshot;
	g_mutex_unlock(&vm->lock);
	return retired;
}

bool vm_is_owing(const Vm *vm)
{
	return vm->config->host && vm->undo && undo_list_length(vm->undo);
}

/* Ends busy with what came of it: the snapshot that stands now and, taken, an
 * error or NULL, which becomes the caller's.  Returns whether there is none. */
static bool finish(Vm *vm, Snapshot *snapshot, GError *failure, GError **error)
{
	g_mutex_lock(&vm->lock);
	vm->owes = !snapshot && vm_is_owing(vm);
	vm->busy = false;
	vm->snapshot = snapshot;
	g_free(vm->error);
	vm->error = failure ? g_strdup(failure->message) : NULL;
	g_mutex_unlock(&vm->lock);
	if (!failure)
		return true;
	g_propagate_error(error, failure);
	return false;
}

static const char *why_not_taken(int refused)
{
	switch (refused) {
	case EEXIST:
		return "it has a snapshot";
	case ESTALE:
		return "another VM has its name now";
	default:
		return "its snapshot is just being taken, committed or "
			"released";
	}
}

bool vm_take(Vm *vm, GError **error)
{
	GError *failure = NULL;
	int refused = begin_take(vm);
	Snapshot *snapshot;

	if (refused) {
		fleece_set_error(error, refused, "VM %s: %s",
			vm->config->name, why_not_taken(refused));
		return false;
	}
	snapshot = vm_make(vm, &failure);
	if (failure)
		g_prefix_error(&failure, "VM %s: ", vm->config->name);
	return finish(vm, snapshot, failure, error);
}

bool vm_needs_scratch(const Vm *vm)
{
	return vm->config->qmp || vm->config->host;
}

bool vm_is_remote(const Vm *vm)
{
	return vm->config->host && domain_is_remote(
		virt_host_uri(domain_host_virt(vm->config->host)));
}

const char *vm_scratch(const Vm *vm)
{
	return vm_needs_scratch(vm) && !vm_is_remote(vm) ?
		vm->config->settings->scratch : NULL;
}

DomainHost *vm_host(const Vm *vm)
{
	return vm->config->host;
}


/* Sets busy, with the snapshot that stands and goes on to stand. */
static int begin_work(Vm *vm, Snapshot **snapshot)
{
	int error = 0;

	g_mutex_lock(&vm->lock);
	if (vm->busy)
		error = EBUSY;
	else if (!vm->snapshot)
		error = ENOENT;
	else
		vm->busy = true;
	if (!error)
		*snapshot = snapshot_ref(vm->snapshot);
	g_mutex_unlock(&vm->lock);
	return error;
}

static bool commit_fleece(Vm *vm, const Fleece *fleece, GError **error)
{
	const VmConfig *config = vm->config;
	const Monitor monitor = vm_config_monitor(config);
	DomainRequest request;

	if (fleece->images || !monitor_speaks_qmp(&monitor)) {
		request = vm_domain_request(vm);
		return domain_commit(&request, fleece, error);
	}
	/* a transaction has QEMU wait for all that is under way */
	if (!scratch_check_answers(config->settings->scratch,
		    config->settings->timeout_ms, error)) {
		g_prefix_error(error, "commit: ");
		return false;
	}
	return commit(fleece, config->name, &monitor, config->settings,
		error);
}

static bool commit_snapshot(Vm *vm, Snapshot *snapshot, bool force,
	GError **error)
{
	const VmConfig *config = vm->config;
	const char *why = "it has no chain";
	int refused = config->settings->chain ?
		snapshot_check_whole(snapshot, force, &why) : EINVAL;

	if (refused) {
		fleece_set_error(error, refused, "commit: %s", why);
		return false;
	}
	if (!commit_fleece(vm, snapshot_fleece(snapshot), error))
		return false;
	snapshot_set_committed(snapshot);
	return true;
}

bool vm_commit(Vm *vm, bool force, GError **error)
{
	g_autoptr(Snapshot) snapshot = NULL;
	GError *failure = NULL;
	int refused = begin_work(vm, &snapshot);

	if (refused) {
		fleece_set_error(error, refused, "VM %s: commit: %s",
			vm->config->name, refused == ENOENT ?
			"it has no snapshot" :
			"its snapshot is just being taken, committed or "
			"released");
		return false;
	}
	if (!force)
		snapshot_wait_closed(snapshot);
	commit_snapshot(vm, snapshot, force, &failure);
	if (failure)
		g_prefix_error(&failure, "VM %s: ", vm->config->name);
	return finish(vm, snapshot, failure, error);
}

bool vm_break(Vm *vm, GError **error)
{
	g_autoptr(Snapshot) snapshot = NULL;
	GError *failure = NULL;
	int refused = begin_work(vm, &snapshot);

	if (refused) {
		fleece_set_error(error, refused, "VM %s: give up: busy",
			vm->config->name);
		return false;
	}
	if (!vm->undo || undo_list_wait_scratch(vm->undo, BREAK_MS, &failure))
		vm_unmake(vm, snapshot, &failure);
	/* one that cannot be taken out yet stays as it is */
	if (!failure || failure->code != ETIMEDOUT)
		snapshot_end(snapshot, false);
	return finish(vm, snapshot, failure, error);
}

static int begin_release(Vm *vm, bool force, Snapshot **snapshot)
{
	int error = 0;

	g_mutex_lock(&vm->lock);
	if (vm->busy)
		error = EBUSY;
	else if (!vm->snapshot)
		error = ENOENT;
	else if (!snapshot_begin_release(vm->snapshot, force))
		error = EBUSY;
	else
		vm->busy = true;
	if (!error)
		*snapshot = g_steal_pointer(&vm->snapshot);
	g_mutex_unlock(&vm->lock);
	return error;
}

/* Whoever has just closed a file may go on. */
static void wait_closed(Vm *vm)
{
	g_autoptr(Snapshot) snapshot = vm_snapshot(vm);

	if (snapshot)
		snapshot_wait_closed(snapshot);
}

bool vm_release(Vm *vm, bool force, GError **error)
{
	g_autoptr(Snapshot) snapshot = NULL;
	GError *failure = NULL;
	bool undone;
	int refused;

	if (!force)
		wait_closed(vm);
	refused = begin_release(vm, force, &snapshot);
	if (refused) {
		fleece_set_error(error, refused, "VM %s: %s",
			vm->config->name, refused == ENOENT ?
			"it has no snapshot" :
			"a file of its snapshot is open, or it is just being "
			"taken, committed or released");
		return false;
	}
	undone = vm_unmake(vm, snapshot, &failure);
	snapshot_end(snapshot, !undone);
	return finish(vm, NULL, failure, error);
}
