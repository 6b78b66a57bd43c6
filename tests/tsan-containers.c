/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GLib's containers for ThreadSanitizer
 *
 * What GLib does inside of them is not instrumented, so two threads in one of
 * them at once would not be seen.  These tell ThreadSanitizer that a container
 * is read or written, and call GLib's own.
 */
#include "tsan-real.h"

/* The compiler's own, which no header has. */
void __tsan_read8(void *at);
void __tsan_write8(void *at);

gpointer g_hash_table_lookup(GHashTable *table, gconstpointer key)
{
	REAL(g_hash_table_lookup);
	__tsan_read8(table);
	return real(table, key);
}

gboolean g_hash_table_contains(GHashTable *table, gconstpointer key)
{
	REAL(g_hash_table_contains);
	__tsan_read8(table);
	return real(table, key);
}

guint g_hash_table_size(GHashTable *table)
{
	REAL(g_hash_table_size);
	__tsan_read8(table);
	return real(table);
}

void g_hash_table_iter_init(GHashTableIter *iter, GHashTable *table)
{
	REAL(g_hash_table_iter_init);
	__tsan_read8(table);
	real(iter, table);
}

gboolean g_hash_table_insert(GHashTable *table, gpointer key, gpointer value)
{
	REAL(g_hash_table_insert);
	__tsan_write8(table);
	return real(table, key, value);
}

gboolean g_hash_table_add(GHashTable *table, gpointer key)
{
	REAL(g_hash_table_add);
	__tsan_write8(table);
	return real(table, key);
}

gboolean g_hash_table_remove(GHashTable *table, gconstpointer key)
{
	REAL(g_hash_table_remove);
	__tsan_write8(table);
	return real(table, key);
}

gboolean g_hash_table_steal(GHashTable *table, gconstpointer key)
{
	REAL(g_hash_table_steal);
	__tsan_write8(table);
	return real(table, key);
}

void g_hash_table_remove_all(GHashTable *table)
{
	REAL(g_hash_table_remove_all);
	__tsan_write8(table);
	real(table);
}

void g_ptr_array_add(GPtrArray *array, gpointer item)
{
	REAL(g_ptr_array_add);
	__tsan_write8(array);
	real(array, item);
}

void g_ptr_array_set_size(GPtrArray *array, gint length)
{
	REAL(g_ptr_array_set_size);
	__tsan_write8(array);
	real(array, length);
}

gpointer g_ptr_array_remove_index(GPtrArray *array, guint index)
{
	REAL(g_ptr_array_remove_index);
	__tsan_write8(array);
	return real(array, index);
}

gpointer g_ptr_array_steal_index(GPtrArray *array, guint index)
{
	REAL(g_ptr_array_steal_index);
	__tsan_write8(array);
	return real(array, index);
}

gboolean g_ptr_array_remove(GPtrArray *array, gpointer item)
{
	REAL(g_ptr_array_remove);
	__tsan_write8(array);
	return real(array, item);
}

void g_ptr_array_sort(GPtrArray *array, GCompareFunc compare)
{
	REAL(g_ptr_array_sort);
	__tsan_write8(array);
	real(array, compare);
}

void g_queue_push_tail(GQueue *queue, gpointer item)
{
	REAL(g_queue_push_tail);
	__tsan_write8(queue);
	real(queue, item);
}

void g_queue_push_head(GQueue *queue, gpointer item)
{
	REAL(g_queue_push_head);
	__tsan_write8(queue);
	real(queue, item);
}

gpointer g_queue_pop_head(GQueue *queue)
{
	REAL(g_queue_pop_head);
	__tsan_write8(queue);
	return real(queue);
}

gboolean g_queue_remove(GQueue *queue, gconstpointer item)
{
	REAL(g_queue_remove);
	__tsan_write8(queue);
	return real(queue, item);
}

void g_queue_push_tail_link(GQueue *queue, GList *link)
{
	REAL(g_queue_push_tail_link);
	__tsan_write8(queue);
	real(queue, link);
}

void g_queue_unlink(GQueue *queue, GList *link)
{
	REAL(g_queue_unlink);
	__tsan_write8(queue);
	real(queue, link);
}

GList *g_queue_pop_head_link(GQueue *queue)
{
	REAL(g_queue_pop_head_link);
	__tsan_write8(queue);
	return real(queue);
}

GArray *g_array_append_vals(GArray *array, gconstpointer data, guint n)
{
	REAL(g_array_append_vals);
	__tsan_write8(array);
	return real(array, data, n);
}

GArray *g_array_set_size(GArray *array, guint length)
{
	REAL(g_array_set_size);
	__tsan_write8(array);
	return real(array, length);
}
