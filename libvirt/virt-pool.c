/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-pool.h"

#include <errno.h>

#include "fleece-error.h"

struct VirtPool {
	char *uri;
	GMutex lock;
	GQueue rest; /* of VirtConnection; lock */
	bool closed; /* lock */
};

VirtPool *virt_pool_new(const char *uri)
{
	VirtPool *pool = g_atomic_rc_box_new0(VirtPool);

	pool->uri = g_strdup(uri);
	g_mutex_init(&pool->lock);
	g_queue_init(&pool->rest);
	return pool;
}

VirtPool *virt_pool_ref(VirtPool *pool)
{
	return g_atomic_rc_box_acquire(pool);
}

static void pool_clear(gpointer data)
{
	VirtPool *pool = data;

	virt_pool_close(pool);
	g_mutex_clear(&pool->lock);
	g_free(pool->uri);
}

void virt_pool_unref(VirtPool *pool)
{
	g_atomic_rc_box_release_full(pool, pool_clear);
}

/* One at rest; one whose libvirtd has ended meanwhile is of no use. */
static VirtConnection *rested(VirtPool *pool)
{
	for (;;) {
		VirtConnection *connection;

		g_mutex_lock(&pool->lock);
		connection = g_queue_pop_head(&pool->rest);
		g_mutex_unlock(&pool->lock);
		if (!connection || virConnectIsAlive(connection) == 1)
			return connection;
		virt_connection_unref(connection);
	}
}

VirtConnection *virt_pool_take(VirtPool *pool, GError **error)
{
	VirtConnection *connection = rested(pool);
	GError *failure = NULL;

	if (!connection)
		connection = virConnectOpenAuth(pool->uri,
			virConnectAuthPtrDefault, 0);
	if (connection)
		return connection;
	virt_fail(&failure, pool->uri);
	if (failure->code == EIO)
		failure->code = ENOTCONN;
	g_propagate_error(error, failure);
	return NULL;
}

void virt_pool_give(VirtPool *pool, VirtConnection *connection)
{
	g_mutex_lock(&pool->lock);
	if (!pool->closed)
		g_queue_push_head(&pool->rest, g_steal_pointer(&connection));
	g_mutex_unlock(&pool->lock);
	g_clear_pointer(&connection, virt_connection_unref);
}

void virt_pool_close(VirtPool *pool)
{
	GQueue rest;

	g_mutex_lock(&pool->lock);
	pool->closed = true;
	rest = pool->rest;
	g_queue_init(&pool->rest);
	g_mutex_unlock(&pool->lock);
	g_queue_clear_full(&rest, (GDestroyNotify)virt_connection_unref);
}
