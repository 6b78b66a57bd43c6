/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-connect.h"

#include <errno.h>
#include <stdlib.h>

#include "fleece-error.h"
#include "virt-limit.h"
#include "virt-loop.h"

/* A libvirtd that does not answer for as long is given up. */
#define KEEPALIVE_S 5
#define KEEPALIVE_COUNT 3
#define TIMEOUT_MS 30000
/* libvirt waits for 30 seconds for a job to end, and then says which. */
#define LIBVIRT_FIRST_MS 2000
/* How long the end waits. */
#define CLOSE_MS 2000
/* libvirt's macro alone is a cast that clang 19 warns of. */
#define EVENT_CALLBACK(on) VIR_DOMAIN_EVENT_CALLBACK((void (*)(void))(on))

/* What events are told to; libvirt's registrations have references. */
typedef struct {
	GMutex lock;
	VirtNotify *notify; /* NULL: nobody wants to know; lock */
	void *opaque;
} Bell;

struct VirtHost {
	VirtPool *pool; /* for calls */
	char *uri;
	Bell *bell; /* NULL: no events */
	gint timeout_ms; /* atomic */

	GMutex lock;
	bool in_loop; /* lock */
	VirtConnection *events; /* for nothing else; NULL: not now; whoever
				 * calls virt_host_listen() */
};

/* libvirt prints every error itself, unless it is told not to. */
static void be_silent(void *opaque, virErrorPtr error)
{
}

static Bell *bell_new(VirtNotify *notify, void *opaque)
{
	Bell *bell = g_atomic_rc_box_new0(Bell);

	g_mutex_init(&bell->lock);
	bell->notify = notify;
	bell->opaque = opaque;
	return bell;
}

static void bell_clear(gpointer data)
{
	Bell *bell = data;

	g_mutex_clear(&bell->lock);
}

static void bell_unref(void *bell)
{
	g_atomic_rc_box_release_full(bell, bell_clear);
}

static void prepare(const VirtHost *host)
{
	static gsize done;

	if (!g_once_init_enter(&done))
		return;
	virInitialize();
	virSetErrorFunc(NULL, be_silent);
	/* else every connection would need a loop that runs */
	if (host->bell)
		virt_loop_prepare();
	g_once_init_leave(&done, 1);
}

VirtHost *virt_host_new(const char *uri, VirtNotify *notify, void *opaque)
{
	VirtHost *host = g_new0(VirtHost, 1);

	host->pool = virt_pool_new(uri);
	host->uri = g_strdup(uri);
	if (notify)
		host->bell = bell_new(notify, opaque);
	host->timeout_ms = TIMEOUT_MS;
	g_mutex_init(&host->lock);
	prepare(host);
	return host;
}

const char *virt_host_uri(const VirtHost *host)
{
	return host->uri;
}

void virt_host_set_timeout(VirtHost *host, unsigned timeout_ms)
{
	g_atomic_int_set(&host->timeout_ms, timeout_ms);
}

unsigned virt_host_timeout(const VirtHost *host)
{
	return g_atomic_int_get(&host->timeout_ms) + LIBVIRT_FIRST_MS;
}

static int code_of(const virError *failure)
{
	switch (failure->code) {
	case VIR_ERR_NO_DOMAIN:
	case VIR_ERR_NO_DOMAIN_CHECKPOINT:
	case VIR_ERR_NO_DOMAIN_BACKUP:
		return ENOENT;
	case VIR_ERR_OPERATION_TIMEOUT:
		return EBUSY;
	case VIR_ERR_AGENT_UNSYNCED:
	case VIR_ERR_AGENT_UNRESPONSIVE:
		return ETIMEDOUT;
	case VIR_ERR_CHECKPOINT_INCONSISTENT:
		return EUCLEAN;
	case VIR_ERR_AUTH_FAILED:
	case VIR_ERR_AUTH_CANCELLED:
	case VIR_ERR_AUTH_UNAVAILABLE:
	case VIR_ERR_ACCESS_DENIED:
	case VIR_ERR_OPERATION_DENIED:
		return EACCES;
	case VIR_ERR_NO_CONNECT:
	case VIR_ERR_INVALID_CONN:
	case VIR_ERR_RPC:
		return ENOTCONN;
	default:
		return failure->domain == VIR_FROM_RPC ? ENOTCONN : EIO;
	}
}

bool virt_fail(GError **error, const char *what)
{
	const virError *failure = virGetLastError();

	if (failure && failure->message)
		fleece_set_error(error, code_of(failure), "libvirt: %s: %s",
			what, failure->message);
	else
		fleece_set_error(error, EIO, "libvirt: %s failed", what);
	return false;
}

char *virt_text_take(char *text)
{
	char *copy = g_strdup(text);

	free(text);
	return copy;
}

/* --- events --- */

static void tell(Bell *bell)
{
	g_mutex_lock(&bell->lock);
	if (bell->notify)
		bell->notify(bell->opaque);
	g_mutex_unlock(&bell->lock);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain,
	int event, int detail, void *opaque)
{
	tell(opaque);
	return 0;
}

static void on_io_error(virConnectPtr connection, virDomainPtr domain,
	const char *path, const char *alias, int action, void *opaque)
{
	tell(opaque);
}

static void on_close(virConnectPtr connection, int reason, void *opaque)
{
	tell(opaque);
}

/* Not before the forks: with the first call. */
VirtPool *virt_host_pool(VirtHost *host)
{
	g_mutex_lock(&host->lock);
	if (host->bell && !host->in_loop) {
		virt_loop_enter();
		host->in_loop = true;
	}
	g_mutex_unlock(&host->lock);
	return host->pool;
}

static bool on_event(VirtConnection *connection, int id,
	virConnectDomainEventGenericCallback callback, Bell *bell)
{
	Bell *reference = g_atomic_rc_box_acquire(bell);

	if (virConnectDomainEventRegisterAny(connection, NULL, id, callback,
		    reference, bell_unref) >= 0)
		return true;
	bell_unref(reference);
	return false;
}

static bool on_end(VirtConnection *connection, Bell *bell)
{
	Bell *reference = g_atomic_rc_box_acquire(bell);

	if (virConnectRegisterCloseCallback(connection, on_close, reference,
		    bell_unref) >= 0)
		return true;
	bell_unref(reference);
	return false;
}

/* A keepalive while a call is under way would be two threads in it, see
 * virt-pool.h: first what has to be called. */
static bool register_events(VirtConnection *connection, Bell *bell,
	GError **error)
{
	return (on_end(connection, bell) &&
		on_event(connection, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			EVENT_CALLBACK(on_lifecycle), bell) &&
		on_event(connection, VIR_DOMAIN_EVENT_ID_IO_ERROR,
			EVENT_CALLBACK(on_io_error), bell) &&
		virConnectSetKeepAlive(connection, KEEPALIVE_S,
			KEEPALIVE_COUNT) >= 0) ||
		virt_fail(error, "events");
}

/* --- the connection for events --- */

typedef struct {
	VirtPool *pool;
	Bell *bell;
	VirtConnection *connection;
} Listening;

static void hang_up(Listening *listening)
{
	if (!listening->connection)
		return;
	virConnectUnregisterCloseCallback(listening->connection, on_close);
	g_clear_pointer(&listening->connection, virt_connection_unref);
}

static void listening_clear(gpointer data)
{
	Listening *listening = data;

	hang_up(listening);
	if (listening->bell)
		bell_unref(listening->bell);
	virt_pool_unref(listening->pool);
}

static bool listening_run(gpointer data, GError **error)
{
	Listening *listening = data;

	listening->connection = virt_pool_take(listening->pool, error);
	return listening->connection && register_events(
		listening->connection, listening->bell, error);
}

/* Closing it is a call, too. */
static bool closing_run(gpointer data, GError **error)
{
	Listening *listening = data;

	hang_up(listening);
	virt_pool_close(listening->pool);
	return true;
}

static Listening *listening_new(VirtHost *host)
{
	Listening *listening = g_atomic_rc_box_new0(Listening);

	listening->pool = virt_pool_ref(virt_host_pool(host));
	if (host->bell)
		listening->bell = g_atomic_rc_box_acquire(host->bell);
	return listening;
}

bool virt_host_listen(VirtHost *host, GError **error)
{
	static const VirtWork work = { listening_run, NULL, listening_clear };
	Listening *listening;
	bool good;

	if (host->events && virConnectIsAlive(host->events) == 1)
		return true;
	listening = listening_new(host);
	listening->connection = g_steal_pointer(&host->events);
	g_atomic_rc_box_release_full(listening, listening_clear);
	listening = listening_new(host);
	good = virt_limited(&work, listening, virt_host_timeout(host), error);
	if (good)
		host->events = g_steal_pointer(&listening->connection);
	g_atomic_rc_box_release_full(listening, listening_clear);
	return good;
}

/* For a libvirtd that hangs, nobody waits at the end. */
static void close_all(VirtHost *host)
{
	static const VirtWork work = { closing_run, NULL, listening_clear };
	Listening *listening = listening_new(host);

	listening->connection = g_steal_pointer(&host->events);
	virt_limited(&work, listening, CLOSE_MS, NULL);
	g_atomic_rc_box_release_full(listening, listening_clear);
}

void virt_host_free(VirtHost *host)
{
	if (!host)
		return;
	if (host->bell) {
		g_mutex_lock(&host->bell->lock);
		host->bell->notify = NULL;
		g_mutex_unlock(&host->bell->lock);
	}
	close_all(host);
	if (host->in_loop)
		virt_loop_leave();
	g_clear_pointer(&host->bell, bell_unref);
	virt_pool_unref(host->pool);
	g_mutex_clear(&host->lock);
	g_free(host->uri);
	g_free(host);
}

/* The answer is a number. */
static bool version(VirtCall *call, GError **error)
{
	unsigned long number;

	if (virConnectGetVersion(call->connection, &number) < 0)
		return virt_fail(error, "version of QEMU");
	call->answer = g_memdup2(&number, sizeof number);
	return true;
}

unsigned virt_host_qemu_version(VirtHost *host)
{
	const VirtDeed deed = { version };
	g_autofree gpointer answer = NULL;
	unsigned long number;

	if (!virt_act(host, NULL, &deed, &answer, NULL))
		return 0;
	number = *(unsigned long *)answer;
	return number / 1000000 * 10000 + number / 1000 % 1000 * 100 +
		number % 1000;
}
