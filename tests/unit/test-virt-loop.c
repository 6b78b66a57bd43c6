/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One thread for the events of all. */
#include "virt-loop.h"

#include <glib.h>
#include <libvirt/libvirt.h>

#define LONG_US (30 * G_TIME_SPAN_SECOND)

static GMutex lock;
static GCond changed;
static GThread *told_by; /* lock */

static void tell(int timer, void *unused)
{
	virEventRemoveTimeout(timer);
	g_mutex_lock(&lock);
	told_by = g_thread_self();
	g_cond_signal(&changed);
	g_mutex_unlock(&lock);
}

/* The thread in which an event comes; NULL where none does until then. */
static GThread *wait_event(gint64 ends)
{
	GThread *thread;

	g_mutex_lock(&lock);
	while (!told_by && g_cond_wait_until(&changed, &lock, ends))
		continue;
	thread = g_steal_pointer(&told_by);
	g_mutex_unlock(&lock);
	return thread;
}

static GThread *event(void)
{
	g_assert_cmpint(virEventAddTimeout(0, tell, NULL, NULL), >=, 0);
	return wait_event(g_get_monotonic_time() + LONG_US);
}

static void test_shared(void)
{
	GThread *first;

	virt_loop_enter();
	first = event();
	g_assert_nonnull(first);
	virt_loop_enter();
	g_assert_true(event() == first);
	virt_loop_leave();
	g_assert_true(event() == first);
	virt_loop_leave();
}

/* What happens while nobody is there is told to who comes next. */
static void test_comes_back(void)
{
	virt_loop_enter();
	g_assert_nonnull(event());
	virt_loop_leave();
	g_assert_cmpint(virEventAddTimeout(0, tell, NULL, NULL), >=, 0);
	g_assert_null(wait_event(0));
	virt_loop_enter();
	g_assert_nonnull(wait_event(g_get_monotonic_time() + LONG_US));
	virt_loop_leave();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	virt_loop_prepare();
	g_test_add_func("/virt-loop/shared", test_shared);
	g_test_add_func("/virt-loop/comes-back", test_comes_back);
	return g_test_run();
}
