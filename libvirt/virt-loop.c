/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-loop.h"

#include <glib.h>
#include <libvirt/libvirt.h>

static GMutex lock;
static unsigned users;  /* lock */
static GThread *thread; /* NULL: there are none; lock */
static gint stop;       /* atomic */

void virt_loop_prepare(void)
{
	virEventRegisterDefaultImpl();
}

static gpointer run(gpointer unused)
{
	while (!g_atomic_int_get(&stop)) {
		if (virEventRunDefaultImpl() < 0)
			g_usleep(G_TIME_SPAN_MILLISECOND);
	}
	return NULL;
}

static void wake_up(int timer, void *opaque)
{
	virEventRemoveTimeout(timer);
}

void virt_loop_enter(void)
{
	g_mutex_lock(&lock);
	if (users++ == 0) {
		g_atomic_int_set(&stop, 0);
		thread = g_thread_new("libvirt", run, NULL);
	}
	g_mutex_unlock(&lock);
}

void virt_loop_leave(void)
{
	g_mutex_lock(&lock);
	if (--users == 0) {
		g_atomic_int_set(&stop, 1);
		virEventAddTimeout(0, wake_up, NULL, NULL);
		g_thread_join(g_steal_pointer(&thread));
	}
	g_mutex_unlock(&lock);
}
