/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch-watch.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "human.h"
#include "scratch-plan.h"
#include "snapshot-make.h"

#define INTERVAL_US (500 * G_TIME_SPAN_MILLISECOND)

struct ScratchWatch {
	VmSet *set;
	const Settings *settings;
	uint64_t limit; /* bytes; const */
	GThread *thread;

	GMutex lock;
	GCond wake;
	bool woken; /* lock */
	bool stop;  /* lock */
};

/* What one look found. */
typedef struct {
	GPtrArray *vms;       /* Vm, not owned: those with a live snapshot */
	GPtrArray *snapshots; /* Snapshot, theirs */
	GArray *users;        /* ScratchUser, theirs */
	GArray *spaces;       /* ScratchSpace */
} Look;

static void look_clear(Look *look)
{
	g_ptr_array_unref(look->vms);
	g_ptr_array_unref(look->snapshots);
	g_array_unref(look->users);
	g_array_unref(look->spaces);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

static uint64_t amount_of(const Amount *amount, uint64_t whole)
{
	return amount->percent ? whole / 100 * amount->percent : amount->bytes;
}

static uint64_t free_bytes(const struct statvfs *fs)
{
	return (uint64_t)fs->f_bavail * fs->f_frsize;
}

/* Adds the filesystem of directory, once. */
static dev_t add_space(const ScratchWatch *watch, Look *look,
	const char *directory)
{
	ScratchSpace space;
	struct statvfs fs;
	struct stat st;

	if (stat(directory, &st) < 0 || statvfs(directory, &fs) < 0)
		return 0;
	for (guint i = 0; i < look->spaces->len; i++) {
		if (g_array_index(look->spaces, ScratchSpace, i).device ==
		    st.st_dev)
			return st.st_dev;
	}
	space = (ScratchSpace){ st.st_dev, free_bytes(&fs),
		amount_of(&watch->settings->scratch_reserve,
			(uint64_t)fs.f_blocks * fs.f_frsize) };
	g_array_append_val(look->spaces, space);
	return st.st_dev;
}

/* A part of what is free here says nothing of another machine. */
static uint64_t counted(const ScratchWatch *watch, const Vm *vm,
	Snapshot *snapshot)
{
	return vm_scratch(vm) || !watch->settings->scratch_limit.percent ?
		snapshot_scratch(snapshot) : 0;
}

static void add_user(const ScratchWatch *watch, Look *look, Vm *vm,
	Snapshot *snapshot)
{
	ScratchUser user = {
		.device = vm_scratch(vm) ?
			add_space(watch, look, vm_scratch(vm)) : 0,
		.used = counted(watch, vm, snapshot),
	};

	g_ptr_array_add(look->vms, vm);
	g_ptr_array_add(look->snapshots, snapshot_ref(snapshot));
	g_array_append_val(look->users, user);
}

static void broken_done(void *opaque, const GError *error)
{
	g_autoptr(Snapshot) snapshot = opaque;

	if (!error)
		return;
	/* the next look tries again */
	if (error->code != EBUSY && error->code != ETIMEDOUT)
		g_warning("%s", error->message);
	else if (snapshot_cancel_break(snapshot) && error->code == ETIMEDOUT)
		g_warning("%s; this is tried again", error->message);
}

/* Has a snapshot that broke taken out of QEMU, once. */
static void take_out(const ScratchWatch *watch, Vm *vm, Snapshot *snapshot)
{
	if (snapshot_begin_break(snapshot))
		vm_set_submit(watch->set, vm, VM_BREAK, false, broken_done,
			snapshot_ref(snapshot));
}

/* Takes in all live snapshots, and sees to those that broke.  Returns whether
 * any stands that may still need something. */
static bool survey(const ScratchWatch *watch, Look *look)
{
	g_autoptr(GPtrArray) vms = vm_set_list(watch->set);
	bool any = false;

	for (guint i = 0; i < vms->len; i++) {
		g_autoptr(Snapshot) snapshot = vm_needs_scratch(vms->pdata[i]) ?
			vm_snapshot(vms->pdata[i]) : NULL;
		enum snapshot_state state = SNAPSHOT_RELEASED;

		/* one that is read from images needs none */
		if (snapshot && !snapshot_fleece(snapshot)->images) {
			snapshot_check_scratch(snapshot);
			state = snapshot_get_state(snapshot, NULL);
		}
		if (state == SNAPSHOT_LIVE)
			add_user(watch, look, vms->pdata[i], snapshot);
		else if (state == SNAPSHOT_BROKEN)
			take_out(watch, vms->pdata[i], snapshot);
		any |= state == SNAPSHOT_LIVE || state == SNAPSHOT_BROKEN;
	}
	return any;
}

static char *explain(const ScratchWatch *watch, const Look *look,
	enum scratch_verdict verdict, size_t victim)
{
	uint64_t used = g_array_index(look->users, ScratchUser, victim).used;
	g_autofree char *taken = human_size(used);
	g_autofree char *limit = human_size(watch->limit);

	if (verdict == SCRATCH_OVER_LIMIT)
		return g_strdup_printf("scratch_limit: all snapshots together "
			"reached %s, and this one had taken %s, most of all",
			limit, taken);
	return g_strdup_printf("scratch_reserve: %s is nearly full, and this "
		"snapshot had taken %s of it, most of all",
		vm_scratch(look->vms->pdata[victim]), taken);
}

/* One look.  Returns whether there is anything to look at. */
static bool look_around(const ScratchWatch *watch)
{
	g_auto(Look) look = {
		g_ptr_array_new(),
		g_ptr_array_new_with_free_func((GDestroyNotify)snapshot_unref),
		g_array_new(FALSE, FALSE, sizeof(ScratchUser)),
		g_array_new(FALSE, FALSE, sizeof(ScratchSpace)),
	};
	bool any = survey(watch, &look);
	enum scratch_verdict verdict;
	size_t victim;

	verdict = scratch_plan((const ScratchUser *)look.users->data,
		look.users->len, (const ScratchSpace *)look.spaces->data,
		look.spaces->len, watch->limit, &victim);
	if (verdict != SCRATCH_FINE) {
		Snapshot *snapshot = look.snapshots->pdata[victim];
		g_autofree char *why = explain(watch, &look, verdict, victim);

		snapshot_break(snapshot, why);
		take_out(watch, look.vms->pdata[victim], snapshot);
	}
	return any;
}

static gpointer run(gpointer data)
{
	ScratchWatch *watch = data;
	bool any = false;

	g_mutex_lock(&watch->lock);
	while (!watch->stop) {
		if (any)
			g_cond_wait_until(&watch->wake, &watch->lock,
				g_get_monotonic_time() + INTERVAL_US);
		else if (!watch->woken)
			g_cond_wait(&watch->wake, &watch->lock);
		watch->woken = false;
		if (watch->stop)
			break;
		g_mutex_unlock(&watch->lock);
		any = look_around(watch);
		g_mutex_lock(&watch->lock);
	}
	g_mutex_unlock(&watch->lock);
	return NULL;
}

static uint64_t limit_at_start(const Settings *settings)
{
	struct statvfs fs;

	if (!settings->scratch_limit.percent)
		return settings->scratch_limit.bytes;
	if (statvfs(settings->scratch, &fs) < 0)
		return UINT64_MAX;
	return amount_of(&settings->scratch_limit, free_bytes(&fs));
}

ScratchWatch *scratch_watch_new(VmSet *set, const Settings *settings)
{
	ScratchWatch *watch = g_new0(ScratchWatch, 1);

	watch->set = set;
	watch->settings = settings;
	watch->limit = limit_at_start(settings);
	g_mutex_init(&watch->lock);
	g_cond_init(&watch->wake);
	watch->thread = g_thread_new("scratch-watch", run, watch);
	return watch;
}

void scratch_watch_stop(ScratchWatch *watch)
{
	g_mutex_lock(&watch->lock);
	watch->stop = true;
	g_cond_signal(&watch->wake);
	g_mutex_unlock(&watch->lock);
	g_thread_join(watch->thread);
}

void scratch_watch_free(ScratchWatch *watch)
{
	if (!watch)
		return;
	g_mutex_clear(&watch->lock);
	g_cond_clear(&watch->wake);
	g_free(watch);
}

void scratch_watch_wake(ScratchWatch *watch)
{
	g_mutex_lock(&watch->lock);
	watch->woken = true;
	g_cond_signal(&watch->wake);
	g_mutex_unlock(&watch->lock);
}

/* Of all, what counts, and how much of that is on this machine. */
static uint64_t used_by_all(const ScratchWatch *watch, uint64_t *here)
{
	g_autoptr(GPtrArray) vms = vm_set_list(watch->set);
	uint64_t used = 0;

	*here = 0;
	for (guint i = 0; i < vms->len; i++) {
		const Vm *vm = vms->pdata[i];
		g_autoptr(Snapshot) snapshot = vm_snapshot(vms->pdata[i]);
		uint64_t own = snapshot ? counted(watch, vm, snapshot) : 0;

		used += own;
		*here += vm_scratch(vm) ? own : 0;
	}
	return used;
}

static uint64_t less(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

void scratch_watch_space(ScratchWatch *watch, uint64_t *total, uint64_t *left)
{
	uint64_t here;
	uint64_t used = used_by_all(watch, &here);
	struct statvfs fs;

	*left = less(watch->limit, used);
	if (statvfs(watch->settings->scratch, &fs) == 0)
		*left = MIN(*left, less(free_bytes(&fs), amount_of(
			&watch->settings->scratch_reserve,
			(uint64_t)fs.f_blocks * fs.f_frsize)));
	*total = here + *left;
}

/* What a snapshot takes where the guest overwrites all of its disks. */
static uint64_t needed_by(const Snapshot *snapshot)
{
	uint64_t needed = 0;

	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++) {
		DiskView *disk = snapshot_disk(snapshot, i);

		if (disk_view_has_scratch(disk))
			needed += snapshot_chain(snapshot, i)->limited ?
				disk_view_dirty(disk) : disk_view_size(disk);
	}
	return needed;
}

static uint64_t needed_by_all(VmSet *set, bool *shared)
{
	g_autoptr(GPtrArray) vms = vm_set_list(set);
	uint64_t needed = 0;

	*shared = false;
	for (guint i = 0; i < vms->len; i++) {
		g_autoptr(Snapshot) snapshot = vm_snapshot(vms->pdata[i]);

		if (!snapshot)
			continue;
		needed += needed_by(snapshot);
		*shared |= snapshot_fleece(snapshot)->scratch_shared;
	}
	return needed;
}

void scratch_watch_say(ScratchWatch *watch)
{
	bool shared;
	uint64_t needed = needed_by_all(watch->set, &shared), total, left;
	g_autofree char *worst = human_size(needed);
	g_autofree char *allowed = NULL;

	if (!needed)
		return;
	scratch_watch_space(watch, &total, &left);
	allowed = human_size(total);
	g_message("scratch: %s if the guests overwrite all that is shown; %s "
		"may be used%s%s", worst, allowed, needed <= total ? "" :
		", then a snapshot is given up", !shared ? "" :
		"; it is on the filesystem of a guest's image");
}
