/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-host.h"

#include <errno.h>
#include <string.h>

#include "domain-uri.h"
#include "fleece-error.h"
#include "virt-domain.h"

#define INTERVAL_US (1 * G_TIME_SPAN_SECOND)

struct DomainHost {
	VirtHost *virt;
	DomainLook *look;
	void *opaque;
	GThread *thread; /* NULL: not started */

	GMutex lock;
	GCond wake;
	GCond tried;
	bool woken;       /* lock */
	bool stop;        /* lock */
	bool started;     /* lock */
	GPtrArray *names; /* DomainName; NULL: not yet; lock */
	GError *failure;  /* of the last try, NULL: none; lock */
};

static void domain_name_free(DomainName *name)
{
	g_free(name->name);
	g_free(name->uuid);
	g_free(name);
}

static GPtrArray *name_array(void)
{
	return g_ptr_array_new_with_free_func(
		(GDestroyNotify)domain_name_free);
}

static void add_name(GPtrArray *names, const char *name, const char *uuid)
{
	DomainName *entry = g_new0(DomainName, 1);

	entry->name = g_strdup(name);
	entry->uuid = g_strdup(uuid);
	g_ptr_array_add(names, entry);
}

static void notify(void *opaque)
{
	domain_host_wake(opaque);
}

DomainHost *domain_host_new(const char *uri, GError **error)
{
	DomainHost *host;

	if (!domain_uri_check(uri, error))
		return NULL;
	host = g_new0(DomainHost, 1);
	host->virt = virt_host_new(uri, notify, host);
	g_mutex_init(&host->lock);
	g_cond_init(&host->wake);
	g_cond_init(&host->tried);
	return host;
}

void domain_host_free(DomainHost *host)
{
	if (!host)
		return;
	domain_host_stop(host);
	virt_host_free(host->virt);
	g_clear_pointer(&host->names, g_ptr_array_unref);
	g_clear_error(&host->failure);
	g_mutex_clear(&host->lock);
	g_cond_clear(&host->wake);
	g_cond_clear(&host->tried);
	g_free(host);
}

static GPtrArray *ask(DomainHost *host, GError **error)
{
	g_autoptr(GPtrArray) domains = virt_domains(host->virt, error);
	GPtrArray *names = domains ? name_array() : NULL;

	for (guint i = 0; domains && i < domains->len; i++) {
		const VirtDomain *domain = domains->pdata[i];

		add_name(names, domain->name, domain->uuid);
	}
	return names;
}

/* Where libvirt does not answer, what was there is still the best guess. */
static bool refresh(DomainHost *host)
{
	GError *failure = NULL;
	GPtrArray *names = virt_host_listen(host->virt, &failure) ?
		ask(host, &failure) : NULL;

	g_mutex_lock(&host->lock);
	if (names) {
		g_clear_pointer(&host->names, g_ptr_array_unref);
		host->names = names;
	}
	g_clear_error(&host->failure);
	host->failure = failure;
	g_cond_broadcast(&host->tried);
	g_mutex_unlock(&host->lock);
	return names;
}

static gpointer run(gpointer data)
{
	DomainHost *host = data;
	bool again = false;
	bool answers;

	g_mutex_lock(&host->lock);
	while (!host->stop) {
		if (again && !host->woken)
			g_cond_wait_until(&host->wake, &host->lock,
				g_get_monotonic_time() + INTERVAL_US);
		else if (!host->woken)
			g_cond_wait(&host->wake, &host->lock);
		host->woken = false;
		if (host->stop)
			break;
		g_mutex_unlock(&host->lock);
		answers = refresh(host);
		again = host->look(host, answers, host->opaque) || !answers;
		g_mutex_lock(&host->lock);
	}
	g_mutex_unlock(&host->lock);
	return NULL;
}

void domain_host_start(DomainHost *host, DomainLook *look, void *opaque)
{
	host->look = look;
	host->opaque = opaque;
	g_mutex_lock(&host->lock);
	host->started = host->woken = true;
	g_mutex_unlock(&host->lock);
	host->thread = g_thread_new("domains", run, host);
}

bool domain_host_wait(DomainHost *host, GError **error)
{
	bool good;

	g_mutex_lock(&host->lock);
	while (!host->names && !host->failure)
		g_cond_wait(&host->tried, &host->lock);
	good = host->names;
	if (!good)
		g_propagate_error(error, g_error_copy(host->failure));
	g_mutex_unlock(&host->lock);
	return good;
}

void domain_host_begin_stop(DomainHost *host)
{
	g_mutex_lock(&host->lock);
	host->stop = true;
	g_cond_signal(&host->wake);
	g_mutex_unlock(&host->lock);
}

void domain_host_stop(DomainHost *host)
{
	if (!host->thread)
		return;
	domain_host_begin_stop(host);
	g_thread_join(g_steal_pointer(&host->thread));
}

void domain_host_wake(DomainHost *host)
{
	g_mutex_lock(&host->lock);
	host->woken = true;
	g_cond_signal(&host->wake);
	g_mutex_unlock(&host->lock);
}

static GPtrArray *copy_names_locked(const DomainHost *host)
{
	GPtrArray *copy = name_array();

	for (guint i = 0; i < host->names->len; i++) {
		const DomainName *name = host->names->pdata[i];

		add_name(copy, name->name, name->uuid);
	}
	return copy;
}

GPtrArray *domain_host_list(DomainHost *host, GError **error)
{
	GPtrArray *copy = NULL;
	bool started;

	g_mutex_lock(&host->lock);
	started = host->started;
	if (host->names)
		copy = copy_names_locked(host);
	else if (host->failure)
		g_propagate_error(error, g_error_copy(host->failure));
	else if (started)
		fleece_set_error(error, ENOTCONN, "%s: no answer yet",
			virt_host_uri(host->virt));
	g_mutex_unlock(&host->lock);
	return started ? copy : ask(host, error);
}

VirtHost *domain_host_virt(DomainHost *host)
{
	return host->virt;
}
