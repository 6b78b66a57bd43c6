/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-limit.h"

#include <errno.h>
#include <fcntl.h>

#include "autofd.h"
#include "fleece-error.h"

/* Shared by who waits and the thread. */
typedef struct {
	const VirtWork *work;
	gpointer data;
	GMutex lock;
	GCond ended;
	bool done;      /* lock */
	bool good;      /* lock */
	bool abandoned; /* nobody waits any more; lock */
	GError *error;  /* lock */
} Call;

static void call_clear(gpointer data)
{
	Call *call = data;

	g_atomic_rc_box_release_full(call->data, call->work->clear);
	g_mutex_clear(&call->lock);
	g_cond_clear(&call->ended);
	g_clear_error(&call->error);
}

static gpointer run(gpointer data)
{
	Call *call = data;
	g_autoptr(GError) error = NULL;
	bool good = call->work->run(call->data, &error);
	bool late;

	g_mutex_lock(&call->lock);
	call->done = true;
	call->good = good;
	call->error = g_steal_pointer(&error);
	late = call->abandoned;
	g_cond_signal(&call->ended);
	g_mutex_unlock(&call->lock);
	if (late && good && call->work->late)
		call->work->late(call->data);
	g_atomic_rc_box_release_full(call, call_clear);
	return NULL;
}

/* Whether it has ended in time. */
static bool wait_for(Call *call, unsigned timeout_ms)
{
	gint64 ends = g_get_monotonic_time() +
		timeout_ms * G_TIME_SPAN_MILLISECOND;
	bool done;

	g_mutex_lock(&call->lock);
	while (!call->done &&
		g_cond_wait_until(&call->ended, &call->lock, ends))
		continue;
	done = call->done;
	call->abandoned = !done;
	g_mutex_unlock(&call->lock);
	return done;
}

bool virt_limited(const VirtWork *work, gpointer data, unsigned timeout_ms,
	GError **error)
{
	Call *call = g_atomic_rc_box_new0(Call);
	bool good = false;

	call->work = work;
	call->data = g_atomic_rc_box_acquire(data);
	g_mutex_init(&call->lock);
	g_cond_init(&call->ended);
	g_thread_unref(g_thread_new("libvirt-call", run,
		g_atomic_rc_box_acquire(call)));
	if (wait_for(call, timeout_ms)) {
		good = call->good;
		if (!good)
			g_propagate_error(error,
				g_steal_pointer(&call->error));
	} else {
		fleece_set_error(error, ETIMEDOUT, "libvirt: no answer within "
			"%u ms: does its QEMU hang, or libvirtd?", timeout_ms);
	}
	g_atomic_rc_box_release_full(call, call_clear);
	return good;
}

/* --- acts --- */

typedef struct {
	VirtDeed deed;
	VirtPool *pool;
	char *uuid, *a, *b;
	VirtCall call;
} Doing;

static void give_back(Doing *doing)
{
	g_clear_pointer(&doing->call.domain, virt_domain_handle_free);
	if (doing->call.connection)
		virt_pool_give(doing->pool,
			g_steal_pointer(&doing->call.connection));
}

static void doing_clear(gpointer data)
{
	Doing *doing = data;
	GDestroyNotify free_answer = doing->deed.free_answer;

	if (doing->call.answer)
		(free_answer ? free_answer : g_free)(doing->call.answer);
	virt_pool_unref(doing->pool);
	if (doing->deed.ended)
		doing->deed.ended(doing->uuid);
	g_free(doing->uuid);
	g_free(doing->a);
	g_free(doing->b);
	autofd_clear(&doing->call.file);
}

static bool find_domain(Doing *doing, GError **error)
{
	VirtCall *call = &doing->call;

	if (!doing->uuid)
		return true;
	call->domain = virDomainLookupByUUIDString(call->connection,
		doing->uuid);
	return call->domain || virt_fail(error, "domain");
}

static bool begin(Doing *doing, GError **error)
{
	doing->call.connection = virt_pool_take(doing->pool, error);
	return doing->call.connection && find_domain(doing, error);
}

static bool doing_run(gpointer data, GError **error)
{
	Doing *doing = data;
	bool good = begin(doing, error) &&
		doing->deed.act(&doing->call, error);

	/* before the end is known: for whoever calls next */
	give_back(doing);
	return good;
}

/* Over another connection: by now libvirtd may be another, too. */
static void doing_late(gpointer data)
{
	Doing *doing = data;

	if (doing->deed.late && begin(doing, NULL))
		doing->deed.late(&doing->call);
	give_back(doing);
}

static Doing *doing_new(VirtPool *pool, const char *uuid,
	const VirtDeed *deed)
{
	Doing *doing = g_atomic_rc_box_new0(Doing);

	doing->deed = *deed;
	doing->pool = virt_pool_ref(pool);
	doing->uuid = g_strdup(uuid);
	doing->call.a = doing->a = g_strdup(deed->a);
	doing->call.b = doing->b = g_strdup(deed->b);
	/* the caller may close its own before a late end */
	doing->call.file = deed->file ?
		fcntl(*deed->file, F_DUPFD_CLOEXEC, 0) : -1;
	return doing;
}

bool virt_act(VirtHost *host, const char *uuid, const VirtDeed *deed,
	gpointer *answer, GError **error)
{
	static const VirtWork work = { doing_run, doing_late, doing_clear };
	Doing *doing = doing_new(virt_host_pool(host), uuid, deed);
	bool good = virt_limited(&work, doing, deed->timeout_ms ?
		deed->timeout_ms : virt_host_timeout(host), error);

	if (good && answer)
		*answer = g_steal_pointer(&doing->call.answer);
	g_atomic_rc_box_release_full(doing, doing_clear);
	return good;
}
