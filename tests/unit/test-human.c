/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "human.h"

#include <math.h>

#include <glib.h>

static void check_size(uint64_t bytes, const char *expected)
{
	g_autofree char *text = human_size(bytes);

	g_assert_cmpstr(text, ==, expected);
}

static void test_size(void)
{
	check_size(0, "0 B");
	check_size(1023, "1023 B");
	check_size(1024, "1.0 KiB");
	check_size(1536, "1.5 KiB");
	check_size(10188, "9.9 KiB");
	check_size(10189, "10 KiB");
	check_size(64 << 20, "64 MiB");
	check_size(1000 << 20, "1000 MiB");
	check_size((1 << 20) - 1, "1.0 MiB");
	check_size((1ULL << 40) + 1, "1.0 TiB");
	check_size(UINT64_MAX, "16 EiB");
}

static void check_age(double seconds, const char *expected)
{
	g_autofree char *text = human_age(seconds);

	g_assert_cmpstr(text, ==, expected);
}

static void test_age(void)
{
	check_age(0, "0s");
	check_age(59.999, "59s");
	check_age(60, "1m00s");
	check_age(3599, "59m59s");
	check_age(2 * 3600 + 3 * 60 + 59, "2h03m");
	check_age(24 * 3600 - 1, "23h59m");
	check_age(100 * 24 * 3600 + 4 * 3600, "100d04h");
}

/* A clock that was put back, and what is no number at all. */
static void test_age_of_nothing(void)
{
	check_age(-5, "0s");
	check_age(NAN, "0s");
	check_age(INFINITY, "0s");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/human/size", test_size);
	g_test_add_func("/human/age", test_age);
	g_test_add_func("/human/age-of-nothing", test_age_of_nothing);
	return g_test_run();
}
