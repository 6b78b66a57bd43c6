/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GLib's locks for ThreadSanitizer
 *
 * GLib makes them of futexes, in a library that is not instrumented:
 * ThreadSanitizer would see no lock at all, and a race at every use of one.
 * Linked into everything with -Db_sanitize=thread, these take the place of
 * GLib's functions, tell ThreadSanitizer and call them.  A GThreadPool has
 * its locks inside of GLib: what is pushed is told of at both ends.  So is the
 * end of what a g_atomic_rc_box holds, or a reference counter guards.
 */
#include "tsan-real.h"

#include <sanitizer/tsan_interface.h>

void g_mutex_init(GMutex *mutex)
{
	REAL(g_mutex_init);
	__tsan_mutex_create(mutex, 0);
	real(mutex);
}

void g_mutex_clear(GMutex *mutex)
{
	REAL(g_mutex_clear);
	real(mutex);
	__tsan_mutex_destroy(mutex, 0);
}

void g_mutex_lock(GMutex *mutex)
{
	REAL(g_mutex_lock);
	__tsan_mutex_pre_lock(mutex, 0);
	real(mutex);
	__tsan_mutex_post_lock(mutex, 0, 0);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
	const unsigned flags = __tsan_mutex_try_lock;
	gboolean locked;

	REAL(g_mutex_trylock);
	__tsan_mutex_pre_lock(mutex, flags);
	locked = real(mutex);
	__tsan_mutex_post_lock(mutex,
		locked ? flags : flags | __tsan_mutex_try_lock_failed, 0);
	return locked;
}

void g_mutex_unlock(GMutex *mutex)
{
	REAL(g_mutex_unlock);
	__tsan_mutex_pre_unlock(mutex, 0);
	real(mutex);
	__tsan_mutex_post_unlock(mutex, 0);
}

/* A wait gives the lock away and takes it again. */
static void before_wait(GMutex *mutex)
{
	__tsan_mutex_pre_unlock(mutex, 0);
	__tsan_mutex_post_unlock(mutex, 0);
}

static void after_wait(GMutex *mutex)
{
	__tsan_mutex_pre_lock(mutex, 0);
	__tsan_mutex_post_lock(mutex, 0, 0);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
	REAL(g_cond_wait);
	before_wait(mutex);
	real(cond, mutex);
	after_wait(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
	gboolean signalled;
	REAL(g_cond_wait_until);

	before_wait(mutex);
	signalled = real(cond, mutex, end_time);
	after_wait(mutex);
	return signalled;
}

/* What a pool was made to do, and with what. */
typedef struct {
	GFunc work;
	gpointer user_data;
} Pool;

static void work(gpointer item, gpointer user_data)
{
	const Pool *pool = user_data;

	__tsan_acquire(item);
	__tsan_acquire(user_data);
	pool->work(item, pool->user_data);
	__tsan_release(user_data);
}

/* The few bytes of a Pool are never freed: a pool's threads may outlive it. */
GThreadPool *g_thread_pool_new(GFunc func, gpointer user_data,
	gint max_threads, gboolean exclusive, GError **error)
{
	Pool *pool = g_new(Pool, 1);
	REAL(g_thread_pool_new);

	*pool = (Pool){ func, user_data };
	__tsan_release(pool);
	return real(work, pool, max_threads, exclusive, error);
}

gboolean g_thread_pool_push(GThreadPool *pool, gpointer item, GError **error)
{
	REAL(g_thread_pool_push);
	__tsan_release(item);
	return real(pool, item, error);
}

/* Where it waits for the work to end. */
void g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait)
{
	gpointer user_data = ((GThreadPool *)pool)->user_data;
	REAL(g_thread_pool_free);

	real(pool, immediate, wait);
	if (wait)
		__tsan_acquire(user_data);
}

/* Of the box whose last reference this thread gives up now. */
static __thread GDestroyNotify clear_box;

static void cleared(gpointer box)
{
	GDestroyNotify clear = clear_box;

	__tsan_acquire(box);
	if (clear)
		clear(box);
}

/* Whoever ends it does so after all that the others did with it. */
void g_atomic_rc_box_release_full(gpointer box, GDestroyNotify clear)
{
	GDestroyNotify outer = clear_box;
	REAL(g_atomic_rc_box_release_full);

	__tsan_release(box);
	clear_box = clear;
	real(box, cleared);
	clear_box = outer;
}

gboolean (g_atomic_ref_count_dec)(gatomicrefcount *count)
{
	gboolean last;
	REAL(g_atomic_ref_count_dec);

	__tsan_release(count);
	last = real(count);
	if (last)
		__tsan_acquire(count);
	return last;
}
