/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-connect.h"

#include <errno.h>
#include <stdlib.h>

#include "fleece-error.h"
#include "virt-limit.h"

/* A libvirtd that does not answer for as long is given up. */
#define KEEPALIVE_S 5
#define KEEPALIVE_COUNT 3
#define TIMEOUT_MS 30000
/* libvirt waits for 30 seconds for a job to end, and then says which. */
#define LIBVIRT_FIRST_MS 2000

struct VirtHost {
	char *uri;
	VirtNotify *notify; /* NULL: no events */
	void *opaque;

	GMutex lock;
	VirtConnection *connection; /* NULL: not yet; lock */
	GThread *loop;              /* NULL: not yet; lock */
	gint stop;                  /* atomic */
	gint timeout_ms;            /* atomic */
};

static gint loops; /* that run; atomic */

/* libvirt prints every error itself, unless it is told not to. */
static void be_silent(void *opaque, virErrorPtr error)
{
}

VirtHost *virt_host_new(const char *uri, VirtNotify *notify, void *opaque)
{
	VirtHost *host = g_new0(VirtHost, 1);

	host->uri = g_strdup(uri);
	host->notify = notify;
	host->opaque = opaque;
	host->timeout_ms = TIMEOUT_MS;
	g_mutex_init(&host->lock);
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

static void tell(VirtHost *host)
{
	host->notify(host->opaque);
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

static gpointer run_loop(gpointer data)
{
	VirtHost *host = data;

	while (!g_atomic_int_get(&host->stop)) {
		if (virEventRunDefaultImpl() < 0)
			g_usleep(G_TIME_SPAN_MILLISECOND);
	}
	return NULL;
}

static void wake_up(int timer, void *opaque)
{
	virEventRemoveTimeout(timer);
}

static void register_events(VirtHost *host, VirtConnection *connection)
{
	virConnectRegisterCloseCallback(connection, on_close, host, NULL);
	virConnectDomainEventRegisterAny(connection, NULL,
		VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), host, NULL);
	virConnectDomainEventRegisterAny(connection, NULL,
		VIR_DOMAIN_EVENT_ID_IO_ERROR,
		VIR_DOMAIN_EVENT_CALLBACK(on_io_error), host, NULL);
}

/* --- the connection --- */

static void prepare_once(VirtHost *host)
{
	static gsize done;

	if (!g_once_init_enter(&done))
		return;
	virInitialize();
	virSetErrorFunc(NULL, be_silent);
	/* else every connection would need a loop that runs */
	if (host->notify)
		virEventRegisterDefaultImpl();
	g_once_init_leave(&done, 1);
}

static void close_locked(VirtHost *host)
{
	if (host->connection && host->notify)
		virConnectUnregisterCloseCallback(host->connection, on_close);
	g_clear_pointer(&host->connection, virt_connection_unref);
}

typedef struct {
	char *uri;
	VirtConnection *connection;
} Dialing;

static void dialing_clear(gpointer data)
{
	Dialing *dialing = data;

	g_free(dialing->uri);
	g_clear_pointer(&dialing->connection, virt_connection_unref);
}

static bool dialing_run(gpointer data, GError **error)
{
	Dialing *dialing = data;

	dialing->connection = virConnectOpenAuth(dialing->uri,
		virConnectAuthPtrDefault, 0);
	return dialing->connection || virt_fail(error, dialing->uri);
}

static VirtConnection *dial(VirtHost *host, GError **error)
{
	static const VirtWork work = { dialing_run, NULL, dialing_clear };
	Dialing *dialing = g_atomic_rc_box_new0(Dialing);
	g_autoptr(GError) failure = NULL;
	VirtConnection *connection = NULL;

	dialing->uri = g_strdup(host->uri);
	if (virt_limited(&work, dialing, virt_host_timeout(host), &failure))
		connection = g_steal_pointer(&dialing->connection);
	g_atomic_rc_box_release_full(dialing, dialing_clear);
	if (!failure)
		return connection;
	if (failure->code == EIO || failure->code == ETIMEDOUT)
		failure->code = ENOTCONN;
	g_propagate_error(error, g_steal_pointer(&failure));
	return NULL;
}

static bool open_locked(VirtHost *host, GError **error)
{
	prepare_once(host);
	if (host->notify && !host->loop) {
		host->loop = g_thread_new("libvirt", run_loop, host);
		g_atomic_int_inc(&loops);
	}
	host->connection = dial(host, error);
	if (!host->connection)
		return false;
	/* whichever loop runs sees to all connections */
	if (g_atomic_int_get(&loops))
		virConnectSetKeepAlive(host->connection, KEEPALIVE_S,
			KEEPALIVE_COUNT);
	if (host->notify)
		register_events(host, host->connection);
	return true;
}

VirtConnection *virt_connect(VirtHost *host, GError **error)
{
	VirtConnection *connection = NULL;

	g_mutex_lock(&host->lock);
	if (host->connection && virConnectIsAlive(host->connection) != 1)
		close_locked(host);
	if (host->connection || open_locked(host, error)) {
		connection = host->connection;
		virConnectRef(connection);
	}
	g_mutex_unlock(&host->lock);
	return connection;
}

void virt_host_free(VirtHost *host)
{
	if (!host)
		return;
	close_locked(host);
	if (host->loop) {
		g_atomic_int_set(&host->stop, 1);
		g_atomic_int_add(&loops, -1);
		virEventAddTimeout(0, wake_up, NULL, NULL);
		g_thread_join(host->loop);
	}
	g_mutex_clear(&host->lock);
	g_free(host->uri);
	g_free(host);
}

VirtDomainHandle *virt_lookup(VirtHost *host, const char *uuid,
	GError **error)
{
	g_autoptr(VirtConnection) connection = virt_connect(host, error);
	VirtDomainHandle *domain = connection ?
		virDomainLookupByUUIDString(connection, uuid) : NULL;

	if (connection && !domain)
		virt_fail(error, "domain");
	return domain;
}

unsigned virt_host_qemu_version(VirtHost *host)
{
	g_autoptr(VirtConnection) connection = virt_connect(host, NULL);
	unsigned long version;

	if (!connection || virConnectGetVersion(connection, &version) < 0)
		return 0;
	return version / 1000000 * 10000 + version / 1000 % 1000 * 100 +
		version % 1000;
}
