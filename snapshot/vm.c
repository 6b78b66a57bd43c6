/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm.h"

#include <errno.h>

#include "attach.h"
#include "commit.h"
#include "domain-fleece.h"
#include "fleece-error.h"
#include "fleece.h"
#include "image-host.h"
#include "scratch-probe.h"
#include "snapshot-make.h"

/* How long one attempt to take out what broke waits for scratch. */
#define BREAK_MS 1000
/* One that did not say how much scratch it takes is left alone so long: to ask
 * has its QEMU asked, which may hang. */
#define ASK_AGAIN_US (30 * G_TIME_SPAN_SECOND)
/* What could not be undone though libvirt answers is tried again so much later,
 * and not for long: its QEMU hangs, and each call that is given up keeps a
 * thread of libvirtd's. */
#define SETTLE_AGAIN_US (60 * G_TIME_SPAN_SECOND)
#define SETTLE_MS 2000

struct Vm {
	VmConfig *config;
	const VmContext *context;
	UndoList *undo; /* whoever set busy; made at the first snapshot, NULL
			 * where nothing is made in a QEMU */
	gint64 ask_again;    /* not before, monotonic us; whoever looks */
	gint64 settle_again; /* the same */

	GMutex lock;
	bool retired;       /* lock */
	bool owes;          /* something of ours is left with its libvirt,
			     * without a snapshot; lock */
	bool settling;      /* that is being undone, it is busy; lock */
	GCond settled;      /* it is not any more */
	bool busy;          /* a snapshot is being taken, committed or
			     * released; lock */
	Snapshot *snapshot; /* lock */
	char *error;        /* lock */
};

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

static bool is_owing(const Vm *vm)
{
	return vm->config->host && vm->undo && undo_list_length(vm->undo);
}

/* Ends busy with what came of it: the snapshot that stands now and, taken, an
 * error or NULL, which becomes the caller's.  Returns whether there is none. */
static bool finish(Vm *vm, Snapshot *snapshot, GError *failure, GError **error)
{
	g_mutex_lock(&vm->lock);
	vm->owes = !snapshot && is_owing(vm);
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

static DomainRequest domain_request(const Vm *vm)
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
	request = domain_request(vm);
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

static Snapshot *take(Vm *vm, GError **error)
{
	const VmConfig *config = vm->config;
	Fleece *fleece = config->nbd ? attach(vm, config->nbd, error) :
		config->images ? read_images(vm, error) :
		config->host ? build_domain(vm, error) : build(vm, error);

	return fleece ? snapshot_new_take(vm->config->name, fleece) : NULL;
}

/* Takes what was made in QEMU out of it. */
static bool unmake(Vm *vm, const Snapshot *snapshot, GError **error)
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
	snapshot = take(vm, &failure);
	if (failure)
		g_prefix_error(&failure, "VM %s: ", vm->config->name);
	return finish(vm, snapshot, failure, error);
}

bool vm_needs_scratch(const Vm *vm)
{
	return vm->config->qmp || vm->config->host;
}

static bool is_remote(const Vm *vm)
{
	return vm->config->host && domain_is_remote(
		virt_host_uri(domain_host_virt(vm->config->host)));
}

const char *vm_scratch(const Vm *vm)
{
	return vm_needs_scratch(vm) && !is_remote(vm) ?
		vm->config->settings->scratch : NULL;
}

DomainHost *vm_host(const Vm *vm)
{
	return vm->config->host;
}

static void look_at_scratch(Vm *vm, Snapshot *snapshot)
{
	gint64 now = g_get_monotonic_time();
	uint64_t used;

	if (!is_remote(vm) || now < vm->ask_again)
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
	owes = vm->owes = is_owing(vm);
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
		request = domain_request(vm);
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
		unmake(vm, snapshot, &failure);
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
	undone = unmake(vm, snapshot, &failure);
	snapshot_end(snapshot, !undone);
	return finish(vm, NULL, failure, error);
}
