/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "buffer-pool.h"

#include <string.h>

#define SIZE 65536

static void test_bound(void)
{
	g_autoptr(BufferPool) pool = buffer_pool_new(SIZE, 2);
	void *a = buffer_pool_take(pool);
	void *b = buffer_pool_take(pool);

	g_assert_true(a && b && a != b);
	memset(a, 1, SIZE);
	memset(b, 2, SIZE);
	g_assert_null(buffer_pool_take(pool));
	g_assert_cmpuint(buffer_pool_bytes(pool), ==, 2 * SIZE);
	buffer_pool_give(pool, a);
	g_assert_true(buffer_pool_take(pool) == a);
	buffer_pool_give(pool, a);
	buffer_pool_give(pool, b);
}

static void test_last_in_first_out(void)
{
	g_autoptr(BufferPool) pool = buffer_pool_new(SIZE, 8);
	void *a = buffer_pool_take(pool);
	void *b = buffer_pool_take(pool);

	buffer_pool_give(pool, b);
	buffer_pool_give(pool, a);
	g_assert_true(buffer_pool_take(pool) == a);
	g_assert_true(buffer_pool_take(pool) == b);
	buffer_pool_give(pool, a);
	buffer_pool_give(pool, b);
}

static void test_trim(void)
{
	g_autoptr(BufferPool) pool = buffer_pool_new(SIZE, 2);
	void *a = buffer_pool_take(pool);
	void *b = buffer_pool_take(pool);

	buffer_pool_give(pool, a);
	buffer_pool_trim(pool);
	g_assert_cmpuint(buffer_pool_bytes(pool), ==, SIZE);
	a = buffer_pool_take(pool);
	g_assert_nonnull(a);
	buffer_pool_give(pool, a);
	buffer_pool_give(pool, b);
	buffer_pool_trim(pool);
	g_assert_cmpuint(buffer_pool_bytes(pool), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/buffer-pool/bound", test_bound);
	g_test_add_func("/buffer-pool/last-in-first-out",
		test_last_in_first_out);
	g_test_add_func("/buffer-pool/trim", test_trim);
	return g_test_run();
}
