/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "snapshot.h"

#include <errno.h>

#include "instant.h"
#include "report.h"
#include "snapshot-make.h"

/* How long a close that nobody waits for may take to come through. */
#define CLOSING_US (500 * G_TIME_SPAN_MILLISECOND)

struct Snapshot {
	gatomicrefcount refs;
	uint32_t serial;
	char *vm;
	Fleece *fleece;
	char *instant_text;
	char *json;

	GMutex lock;
	enum snapshot_state state; /* lock */
	char *why;                 /* lock */
	GCond closed;              /* open_files has become 0 */
	unsigned open_files;       /* lock */
	bool committed;            /* lock */
	uint64_t remote_scratch;   /* bytes; lock */
	bool breaking;             /* it is being taken out of QEMU; lock */
	bool delayed;              /* that had to wait once; lock */
};

static const char *const state_names[] = {
	[SNAPSHOT_LIVE] = "live",
	[SNAPSHOT_BROKEN] = "broken",
	[SNAPSHOT_GONE] = "gone",
	[SNAPSHOT_RELEASED] = "released",
};

const char *snapshot_state_to_text(enum snapshot_state state)
{
	return state_names[state];
}

/* One disk that cannot be read any more makes the whole instant worthless. */
static void disk_failed(void *opaque, int errnum, const char *why)
{
	Snapshot *snapshot = opaque;
	bool first;

	g_mutex_lock(&snapshot->lock);
	first = snapshot->state == SNAPSHOT_LIVE;
	if (first) {
		snapshot->state = errnum == ESTALE ? SNAPSHOT_BROKEN :
						     SNAPSHOT_GONE;
		snapshot->why = g_strdup(why);
	}
	g_mutex_unlock(&snapshot->lock);
	if (!first)
		return;
	g_warning("VM %s: snapshot is %s: %s", snapshot->vm,
		errnum == ESTALE ? "broken" : "gone", why);
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		disk_view_fail(snapshot_disk(snapshot, i), errnum);
}

void snapshot_break(Snapshot *snapshot, const char *why)
{
	disk_failed(snapshot, ESTALE, why);
}

bool snapshot_begin_break(Snapshot *snapshot)
{
	bool begun;

	g_mutex_lock(&snapshot->lock);
	begun = snapshot->state == SNAPSHOT_BROKEN && !snapshot->breaking;
	if (begun)
		snapshot->breaking = true;
	g_mutex_unlock(&snapshot->lock);
	return begun;
}

bool snapshot_cancel_break(Snapshot *snapshot)
{
	bool first;

	g_mutex_lock(&snapshot->lock);
	snapshot->breaking = false;
	first = !snapshot->delayed;
	snapshot->delayed = true;
	g_mutex_unlock(&snapshot->lock);
	return first;
}

void snapshot_check_scratch(Snapshot *snapshot)
{
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		disk_view_check_scratch(snapshot_disk(snapshot, i));
}

void snapshot_set_remote_scratch(Snapshot *snapshot, uint64_t used)
{
	g_mutex_lock(&snapshot->lock);
	snapshot->remote_scratch = used;
	g_mutex_unlock(&snapshot->lock);
}

uint64_t snapshot_scratch(Snapshot *snapshot)
{
	uint64_t used;

	g_mutex_lock(&snapshot->lock);
	used = snapshot->remote_scratch;
	g_mutex_unlock(&snapshot->lock);
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++) {
		DiskStats stats;

		disk_view_stats(snapshot_disk(snapshot, i), &stats);
		used += stats.scratch;
	}
	return used;
}

Snapshot *snapshot_new_take(const char *vm, Fleece *fleece)
{
	static guint last_serial;
	Snapshot *snapshot = g_new0(Snapshot, 1);

	g_atomic_ref_count_init(&snapshot->refs);
	g_mutex_init(&snapshot->lock);
	g_cond_init(&snapshot->closed);
	snapshot->serial = g_atomic_int_add(&last_serial, 1) + 1;
	snapshot->vm = g_strdup(vm);
	snapshot->fleece = fleece;
	snapshot->instant_text = instant_to_text(fleece->instant_ms);
	snapshot->json = report_vm_json(snapshot);
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		disk_view_set_failed(snapshot_disk(snapshot, i), disk_failed,
			snapshot);
	return snapshot;
}

Snapshot *snapshot_ref(Snapshot *snapshot)
{
	g_atomic_ref_count_inc(&snapshot->refs);
	return snapshot;
}

void snapshot_unref(Snapshot *snapshot)
{
	if (!snapshot || !g_atomic_ref_count_dec(&snapshot->refs))
		return;
	fleece_free(snapshot->fleece);
	g_mutex_clear(&snapshot->lock);
	g_cond_clear(&snapshot->closed);
	g_free(snapshot->why);
	g_free(snapshot->json);
	g_free(snapshot->instant_text);
	g_free(snapshot->vm);
	g_free(snapshot);
}

uint32_t snapshot_serial(const Snapshot *snapshot)
{
	return snapshot->serial;
}

const char *snapshot_vm(const Snapshot *snapshot)
{
	return snapshot->vm;
}

gint64 snapshot_instant(const Snapshot *snapshot)
{
	return snapshot->fleece->instant_ms;
}

const char *snapshot_instant_text(const Snapshot *snapshot)
{
	return snapshot->instant_text;
}

unsigned snapshot_n_disks(const Snapshot *snapshot)
{
	return snapshot->fleece->disks->len;
}

DiskView *snapshot_disk(const Snapshot *snapshot, unsigned index)
{
	return snapshot->fleece->disks->pdata[index];
}

const DiskChain *snapshot_chain(const Snapshot *snapshot, unsigned index)
{
	return snapshot->fleece->chains->pdata[index];
}

enum view snapshot_view(const Snapshot *snapshot)
{
	return snapshot->fleece->view;
}

const char *snapshot_json(const Snapshot *snapshot)
{
	return snapshot->json;
}

GBytes *snapshot_nvram(const Snapshot *snapshot)
{
	return snapshot->fleece->nvram;
}

const char *snapshot_domain_xml(const Snapshot *snapshot)
{
	return snapshot->fleece->domain_xml;
}

const Fleece *snapshot_fleece(const Snapshot *snapshot)
{
	return snapshot->fleece;
}

enum snapshot_state snapshot_get_state(Snapshot *snapshot, char **why)
{
	enum snapshot_state state;

	g_mutex_lock(&snapshot->lock);
	state = snapshot->state;
	if (why)
		*why = g_strdup(snapshot->why);
	g_mutex_unlock(&snapshot->lock);
	return state;
}

bool snapshot_open(Snapshot *snapshot)
{
	bool open;

	g_mutex_lock(&snapshot->lock);
	open = snapshot->state != SNAPSHOT_RELEASED;
	if (open)
		snapshot->open_files++;
	g_mutex_unlock(&snapshot->lock);
	return open;
}

void snapshot_close(Snapshot *snapshot)
{
	g_mutex_lock(&snapshot->lock);
	if (--snapshot->open_files == 0)
		g_cond_broadcast(&snapshot->closed);
	g_mutex_unlock(&snapshot->lock);
}

void snapshot_wait_closed(Snapshot *snapshot)
{
	gint64 ends = g_get_monotonic_time() + CLOSING_US;

	g_mutex_lock(&snapshot->lock);
	while (snapshot->open_files > 0 && g_cond_wait_until(&snapshot->closed,
		&snapshot->lock, ends))
		continue;
	g_mutex_unlock(&snapshot->lock);
}

bool snapshot_begin_release(Snapshot *snapshot, bool force)
{
	bool begun;

	g_mutex_lock(&snapshot->lock);
	begun = force || snapshot->open_files == 0;
	if (begun)
		snapshot->state = SNAPSHOT_RELEASED;
	g_mutex_unlock(&snapshot->lock);
	if (!begun)
		return false;
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		disk_view_fail(snapshot_disk(snapshot, i), ESTALE);
	return true;
}

bool snapshot_is_committed(Snapshot *snapshot)
{
	bool committed;

	g_mutex_lock(&snapshot->lock);
	committed = snapshot->committed;
	g_mutex_unlock(&snapshot->lock);
	return committed;
}

void snapshot_set_committed(Snapshot *snapshot)
{
	g_mutex_lock(&snapshot->lock);
	snapshot->committed = true;
	g_mutex_unlock(&snapshot->lock);
}

static bool is_open(Snapshot *snapshot)
{
	bool open;

	g_mutex_lock(&snapshot->lock);
	open = snapshot->open_files > 0;
	g_mutex_unlock(&snapshot->lock);
	return open;
}

static bool has_failed_reads(Snapshot *snapshot)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++) {
		DiskStats stats;

		disk_view_stats(snapshot_disk(snapshot, i), &stats);
		failed += stats.failed_reads;
	}
	return failed > 0;
}

int snapshot_check_whole(Snapshot *snapshot, bool force, const char **why)
{
	/* what it finds shows in the state below */
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++)
		disk_view_probe(snapshot_disk(snapshot, i));
	switch (snapshot_get_state(snapshot, NULL)) {
	case SNAPSHOT_LIVE:
		break;
	case SNAPSHOT_GONE:
		*why = "its QEMU is gone";
		return EIO;
	default:
		*why = "the snapshot broke";
		return ESTALE;
	}
	if (has_failed_reads(snapshot)) {
		*why = "a read of it failed, so the copy is not complete";
		return EIO;
	}
	*why = "a file of its snapshot is open";
	return is_open(snapshot) && !force ? EBUSY : 0;
}

void snapshot_end(Snapshot *snapshot, bool leave_scratch)
{
	for (unsigned i = 0; i < snapshot_n_disks(snapshot); i++) {
		DiskView *disk = snapshot_disk(snapshot, i);

		if (leave_scratch)
			disk_view_leave_scratch(disk);
		disk_view_close(disk);
	}
}
