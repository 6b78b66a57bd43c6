/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "buffer-pool.h"

#include <sys/mman.h>

struct BufferPool {
	size_t size;      /* const */
	unsigned limit;   /* const */
	GMutex lock;
	GPtrArray *spare; /* lock: the last one is the warmest */
	unsigned out;     /* lock */
};

BufferPool *buffer_pool_new(size_t size, unsigned limit)
{
	BufferPool *pool = g_new0(BufferPool, 1);

	pool->size = size;
	pool->limit = limit;
	g_mutex_init(&pool->lock);
	pool->spare = g_ptr_array_new();
	return pool;
}

void buffer_pool_free(BufferPool *pool)
{
	if (!pool)
		return;
	g_assert(pool->out == 0);
	buffer_pool_trim(pool);
	g_ptr_array_unref(pool->spare);
	g_mutex_clear(&pool->lock);
	g_free(pool);
}

/* A mapping of its own goes back to the system when it is freed. */
static void *map_buffer(size_t size)
{
	void *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return buffer == MAP_FAILED ? NULL : buffer;
}

void *buffer_pool_take(BufferPool *pool)
{
	void *buffer = NULL;

	g_mutex_lock(&pool->lock);
	if (pool->spare->len > 0)
		buffer = g_ptr_array_steal_index(pool->spare,
			pool->spare->len - 1);
	else if (pool->out < pool->limit)
		buffer = map_buffer(pool->size);
	if (buffer)
		pool->out++;
	g_mutex_unlock(&pool->lock);
	return buffer;
}

void buffer_pool_give(BufferPool *pool, void *buffer)
{
	g_mutex_lock(&pool->lock);
	pool->out--;
	g_ptr_array_add(pool->spare, buffer);
	g_mutex_unlock(&pool->lock);
}

void buffer_pool_trim(BufferPool *pool)
{
	g_mutex_lock(&pool->lock);
	for (guint i = 0; i < pool->spare->len; i++)
		munmap(pool->spare->pdata[i], pool->size);
	g_ptr_array_set_size(pool->spare, 0);
	g_mutex_unlock(&pool->lock);
}

size_t buffer_pool_bytes(BufferPool *pool)
{
	size_t bytes;

	g_mutex_lock(&pool->lock);
	bytes = (pool->out + pool->spare->len) * pool->size;
	g_mutex_unlock(&pool->lock);
	return bytes;
}
