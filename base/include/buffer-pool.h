/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * buffer-pool.h - a bounded number of buffers of one size
 *
 * A buffer that comes back is the next to be given out: it is still in the
 * processor's cache, and its pages need not be made anew.  Memory is taken
 * when it is first needed and given back by buffer_pool_trim().  Any thread.
 */
#pragma once

#include <stddef.h>

#include <glib.h>

typedef struct BufferPool BufferPool;

/* At most limit buffers of size bytes each. */
BufferPool *buffer_pool_new(size_t size, unsigned limit);

/* Every buffer must have come back.  NULL is nothing. */
void buffer_pool_free(BufferPool *pool);

/* Page-aligned, with any content; NULL where limit are out or memory is
 * short. */
void *buffer_pool_take(BufferPool *pool);

/* Gives one back. */
void buffer_pool_give(BufferPool *pool, void *buffer);

/* Frees what is not out. */
void buffer_pool_trim(BufferPool *pool);

/* The bytes that the pool holds, those that are out and those that are not. */
size_t buffer_pool_bytes(BufferPool *pool);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BufferPool, buffer_pool_free)
