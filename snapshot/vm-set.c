/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-set.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "scratch-watch.h"

/* VMs acted on at once. They wait for QEMU nearly all of the time. */
#define WORKERS 16
#define LOOPS_MAX 4

struct VmSet {
	Source *source;
	VmContext context;
	GThreadPool *workers;
	ScratchWatch *watch; /* const once the set is made; NULL before */

	GMutex lock;
	unsigned open;       /* orders that have not ended; lock */
	GCond idle;          /* there is none */
	GHashTable *vms;     /* name (the Vm's) -> Vm; lock */
	GPtrArray *retired;  /* Vms that others have the name of; lock */
	GHashTable *present; /* names in the source at the last look; lock */
	GPtrArray *failures; /* GErrors of that look; lock */
};

typedef struct {
	Vm *vm;
	enum vm_verb verb;
	bool force;
	VmDone *done;
	void *opaque;
} Order;

static void carry_out(gpointer data, gpointer opaque)
{
	g_autofree Order *order = data;
	VmSet *set = opaque;
	g_autoptr(GError) error = NULL;

	switch (order->verb) {
	case VM_TAKE:
		if (vm_take(order->vm, &error) &&
		    vm_needs_scratch(order->vm))
			scratch_watch_wake(set->watch);
		break;
	case VM_COMMIT:
		vm_commit(order->vm, order->force, &error);
		break;
	case VM_RELEASE:
		vm_release(order->vm, order->force, &error);
		break;
	case VM_BREAK:
		vm_break(order->vm, &error);
		break;
	}
	/* its guest has to be looked at, or another has its name and waited
	 * for its end */
	if (vm_host(order->vm))
		domain_host_wake(vm_host(order->vm));
	order->done(order->opaque, error);
	g_mutex_lock(&set->lock);
	if (--set->open == 0)
		g_cond_broadcast(&set->idle);
	g_mutex_unlock(&set->lock);
}

/* All of them now, as they are: a thread that GLib starts later is to get the
 * priority of this moment, which fails, with a line in the log, where somebody
 * has lowered ours since: a confined process may not take that back. */
static bool start_workers(VmSet *set, GError **error)
{
	GError *failure = NULL;

	set->workers = g_thread_pool_new(carry_out, set, WORKERS, TRUE,
		&failure);
	if (!failure)
		return true;
	fleece_set_error(error, EAGAIN, "threads: %s", failure->message);
	g_error_free(failure);
	return false;
}

static bool start_loops(VmSet *set, GError **error)
{
	unsigned n = MIN(g_get_num_processors(), LOOPS_MAX);

	set->context.loops = g_new0(NbdLoop *, n);
	for (unsigned i = 0; i < n; i++) {
		set->context.loops[i] = nbd_loop_new(error);
		if (!set->context.loops[i])
			return false;
		set->context.n_loops++;
	}
	return true;
}

static bool start_starter(VmSet *set, GError **error)
{
	if (source_may_be_off(set->source))
		set->context.starter = image_starter_new(error);
	return set->context.starter || !source_may_be_off(set->source);
}

/* Of this libvirt alone: another may hang. */
static bool look_at_domains(DomainHost *host, bool answers, void *opaque)
{
	VmSet *set = opaque;
	g_autoptr(GPtrArray) vms = NULL;
	bool any = false;

	vm_set_refresh(set, NULL);
	vms = vm_set_list(set);
	for (guint i = 0; answers && i < vms->len; i++) {
		if (vm_host(vms->pdata[i]) == host)
			any |= vm_look(vms->pdata[i], &answers);
	}
	return any;
}

/* All at once, and then we wait for the slowest.  That one of several is not
 * there is no failure. */
static bool start_hosts(VmSet *set, GError **error)
{
	const GPtrArray *hosts = source_hosts(set->source);
	bool groups = source_has_groups(set->source);
	bool good = true;

	for (guint i = 0; i < hosts->len; i++)
		domain_host_start(hosts->pdata[i], look_at_domains, set);
	for (guint i = 0; i < hosts->len; i++)
		good &= domain_host_wait(hosts->pdata[i],
			groups ? NULL : error);
	return good || groups;
}

static void stop_hosts(VmSet *set)
{
	const GPtrArray *hosts = source_hosts(set->source);

	for (guint i = 0; i < hosts->len; i++)
		domain_host_begin_stop(hosts->pdata[i]);
	for (guint i = 0; i < hosts->len; i++)
		domain_host_stop(hosts->pdata[i]);
}

VmSet *vm_set_new_take(Source *source, Guardian *guardian,
	const Settings *settings, GError **error)
{
	g_autoptr(VmSet) set = g_new0(VmSet, 1);

	set->source = source;
	set->context.guardian = guardian;
	g_mutex_init(&set->lock);
	g_cond_init(&set->idle);
	set->vms = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
		(GDestroyNotify)vm_free);
	set->retired = g_ptr_array_new_with_free_func(
		(GDestroyNotify)vm_free);
	set->present = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
		NULL);
	set->failures = source_failures_new();
	if (!start_starter(set, error) || !start_loops(set, error) ||
	    !start_workers(set, error) || !start_hosts(set, error))
		return NULL;
	set->watch = scratch_watch_new(set, settings);
	return g_steal_pointer(&set);
}

static int by_name(gconstpointer a, gconstpointer b)
{
	return strcmp(vm_name(*(Vm *const *)a), vm_name(*(Vm *const *)b));
}

/* Sockets come and go; a snapshot stands until it is released. */
static bool is_listed_locked(VmSet *set, Vm *vm)
{
	g_autoptr(Snapshot) snapshot = vm_snapshot(vm);

	return snapshot || g_hash_table_contains(set->present, vm_name(vm));
}

GPtrArray *vm_set_list(VmSet *set)
{
	GPtrArray *list = g_ptr_array_new();
	GHashTableIter iter;
	gpointer vm;

	g_mutex_lock(&set->lock);
	g_hash_table_iter_init(&iter, set->vms);
	while (g_hash_table_iter_next(&iter, NULL, &vm)) {
		if (is_listed_locked(set, vm))
			g_ptr_array_add(list, vm);
	}
	g_mutex_unlock(&set->lock);
	g_ptr_array_sort(list, by_name);
	return list;
}

/* Counts orders that are under way, to wait for their end. */
typedef struct {
	GMutex lock;
	GCond done;
	unsigned open;
	unsigned out_of_reach; /* of whose images nobody can be asked */
	GError *first; /* error of any of them */
	bool log;
} Wait;

static void wait_done(void *opaque, const GError *error)
{
	Wait *wait = opaque;

	g_mutex_lock(&wait->lock);
	if (g_error_matches(error, FLEECE_ERROR, EREMOTE))
		wait->out_of_reach++;
	else if (error && wait->log)
		g_warning("%s", error->message);
	if (error && !wait->first)
		wait->first = g_error_copy(error);
	wait->open--;
	g_cond_signal(&wait->done);
	g_mutex_unlock(&wait->lock);
}

/* Has verb done on all of vms and waits.  Returns an error of any, or NULL. */
static GError *submit_all(VmSet *set, GPtrArray *vms, enum vm_verb verb,
	bool log)
{
	Wait wait = { .open = vms->len, .log = log };

	g_mutex_init(&wait.lock);
	g_cond_init(&wait.done);
	for (guint i = 0; i < vms->len; i++)
		vm_set_submit(set, vms->pdata[i], verb, true, wait_done,
			&wait);
	g_mutex_lock(&wait.lock);
	while (wait.open)
		g_cond_wait(&wait.done, &wait.lock);
	g_mutex_unlock(&wait.lock);
	g_mutex_clear(&wait.lock);
	g_cond_clear(&wait.done);
	if (wait.out_of_reach && log)
		g_warning("%u domains of libvirts on other machines are shut "
			"off and left out: their images are there",
			wait.out_of_reach);
	return wait.first;
}

/* The VMs that have a snapshot. */
static GPtrArray *standing(VmSet *set)
{
	g_autoptr(GPtrArray) all = vm_set_list(set);
	GPtrArray *list = g_ptr_array_new();

	for (guint i = 0; i < all->len; i++) {
		g_autoptr(Snapshot) snapshot = vm_snapshot(all->pdata[i]);

		if (snapshot)
			g_ptr_array_add(list, all->pdata[i]);
	}
	return list;
}

static void release_all(VmSet *set)
{
	g_autoptr(GPtrArray) vms = standing(set);
	GError *logged = submit_all(set, vms, VM_RELEASE, true);

	g_clear_error(&logged);
}

/* What was ordered before ends first, or it could take a snapshot that nobody
 * releases. */
static void end_workers(VmSet *set)
{
	g_mutex_lock(&set->lock);
	while (set->open > 0)
		g_cond_wait(&set->idle, &set->lock);
	g_mutex_unlock(&set->lock);
	release_all(set);
	g_thread_pool_free(set->workers, FALSE, TRUE);
}

void vm_set_free(VmSet *set)
{
	if (!set)
		return;
	stop_hosts(set);
	if (set->watch)
		scratch_watch_stop(set->watch);
	if (set->workers)
		end_workers(set);
	scratch_watch_free(set->watch);
	g_hash_table_unref(set->vms);
	g_ptr_array_unref(set->retired);
	g_hash_table_unref(set->present);
	g_ptr_array_unref(set->failures);
	image_starter_free(set->context.starter);
	for (unsigned i = 0; i < set->context.n_loops; i++)
		nbd_loop_free(set->context.loops[i]);
	g_free(set->context.loops);
	guardian_free(set->context.guardian);
	source_free(set->source);
	g_mutex_clear(&set->lock);
	g_cond_clear(&set->idle);
	g_free(set);
}

const char *vm_set_spec(const VmSet *set)
{
	return source_spec(set->source);
}

bool vm_set_runs_programs(const VmSet *set)
{
	return source_runs_programs(set->source);
}

Guardian *vm_set_guardian(const VmSet *set)
{
	return set->context.guardian;
}

/* Makes way for another of its name, unless its snapshot stands: that is
 * released first.  Somebody may still have the old one. */
static bool make_way_locked(VmSet *set, Vm *vm)
{
	if (!vm_retire(vm))
		return false;
	g_hash_table_steal(set->vms, vm_name(vm));
	g_ptr_array_add(set->retired, vm);
	return true;
}

static void take_in_locked(VmSet *set, const VmConfig *config)
{
	Vm *vm = g_hash_table_lookup(set->vms, config->name);

	g_hash_table_add(set->present, g_strdup(config->name));
	if (vm && (vm_is_of(vm, config) || !make_way_locked(set, vm)))
		return;
	vm = vm_new(config, &set->context);
	g_hash_table_insert(set->vms, (char *)vm_name(vm), vm);
}

static bool is_known_locked(const VmSet *set, const GError *failure)
{
	for (guint i = 0; i < set->failures->len; i++) {
		const GError *known = set->failures->pdata[i];

		if (g_str_equal(known->message, failure->message))
			return true;
	}
	return false;
}

/* Each is logged once, as long as it lasts; that of a SOURCE without groups is
 * whoever's who asked. */
static void take_failures_locked(VmSet *set, GPtrArray *failures)
{
	for (guint i = 0; i < failures->len; i++) {
		const GError *failure = failures->pdata[i];

		if (source_has_groups(set->source) &&
		    !is_known_locked(set, failure))
			g_warning("%s", failure->message);
	}
	g_ptr_array_unref(set->failures);
	set->failures = g_ptr_array_ref(failures);
}

bool vm_set_refresh(VmSet *set, GError **error)
{
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(GPtrArray) configs = source_list(set->source, failures);

	g_mutex_lock(&set->lock);
	g_hash_table_remove_all(set->present);
	for (guint i = 0; i < configs->len; i++)
		take_in_locked(set, configs->pdata[i]);
	take_failures_locked(set, failures);
	g_mutex_unlock(&set->lock);
	return !source_failed(failures, error);
}

GPtrArray *vm_set_unreachable(VmSet *set)
{
	GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);

	g_mutex_lock(&set->lock);
	for (guint i = 0; i < set->failures->len; i++) {
		const GError *failure = set->failures->pdata[i];

		g_ptr_array_add(texts, g_strdup(failure->message));
	}
	g_mutex_unlock(&set->lock);
	return texts;
}

Vm *vm_set_find(VmSet *set, const char *name)
{
	Vm *vm;

	g_mutex_lock(&set->lock);
	vm = g_hash_table_lookup(set->vms, name);
	g_mutex_unlock(&set->lock);
	if (vm)
		return vm;
	vm_set_refresh(set, NULL);
	g_mutex_lock(&set->lock);
	vm = g_hash_table_lookup(set->vms, name);
	g_mutex_unlock(&set->lock);
	return vm;
}

unsigned vm_set_take_all(VmSet *set, bool strict, GError **error)
{
	g_autoptr(GPtrArray) vms = NULL;
	g_autoptr(GPtrArray) good = NULL;
	g_autoptr(GError) missing = NULL;
	g_autoptr(GError) failure = NULL;

	vm_set_refresh(set, &missing);
	vms = vm_set_list(set);
	if (vms->len == 0 && !missing)
		fleece_set_error(&missing, ENOENT, "%s: no VM in it",
			vm_set_spec(set));
	failure = submit_all(set, vms, VM_TAKE, vms->len > 1);
	if (!failure)
		failure = g_steal_pointer(&missing);
	good = standing(set);
	if (!failure || (good->len && !strict))
		return good->len;
	g_propagate_error(error, g_steal_pointer(&failure));
	release_all(set);
	return 0;
}

Snapshot *vm_set_by_serial(VmSet *set, uint32_t serial)
{
	Snapshot *found = NULL;
	GHashTableIter iter;
	gpointer vm;

	g_mutex_lock(&set->lock);
	g_hash_table_iter_init(&iter, set->vms);
	while (!found && g_hash_table_iter_next(&iter, NULL, &vm)) {
		g_autoptr(Snapshot) snapshot = vm_snapshot(vm);

		if (snapshot && snapshot_serial(snapshot) == serial)
			found = g_steal_pointer(&snapshot);
	}
	g_mutex_unlock(&set->lock);
	return found;
}

void vm_set_say_scratch(VmSet *set)
{
	scratch_watch_say(set->watch);
}

void vm_set_scratch_space(VmSet *set, uint64_t *total, uint64_t *left)
{
	*total = *left = 0;
	if (source_needs_scratch(set->source))
		scratch_watch_space(set->watch, total, left);
}

void vm_set_submit(VmSet *set, Vm *vm, enum vm_verb verb, bool force,
	VmDone *done, void *opaque)
{
	Order *order = g_new(Order, 1);

	*order = (Order){ vm, verb, force, done, opaque };
	g_mutex_lock(&set->lock);
	set->open++;
	g_mutex_unlock(&set->lock);
	g_thread_pool_push(set->workers, order, NULL);
}
