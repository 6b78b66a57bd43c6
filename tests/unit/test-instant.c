/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "instant.h"

#include <string.h>

#define LAST_MS G_GINT64_CONSTANT(253402300799999) /* of the year 9999 */

/* A value that no text has, to see that a refusal leaves it alone. */
#define UNTOUCHED (-77)

typedef struct {
	const char *text;
	gint64 ms;
} Known;

/* The seconds are of date(1). */
static const Known known[] = {
	{ "19700101T000000000Z", G_GINT64_CONSTANT(0) },
	{ "19700101T000000001Z", G_GINT64_CONSTANT(1) },
	{ "19700101T000000999Z", G_GINT64_CONSTANT(999) },
	{ "19700101T000001000Z", G_GINT64_CONSTANT(1000) },
	{ "19720229T120000000Z", G_GINT64_CONSTANT(68212800000) },
	{ "20000229T235959010Z", G_GINT64_CONSTANT(951868799010) },
	{ "20240229T000000000Z", G_GINT64_CONSTANT(1709164800000) },
	{ "20261120T234501123Z", G_GINT64_CONSTANT(1795218301123) },
	{ "20380119T031408000Z", G_GINT64_CONSTANT(2147483648000) },
	{ "20991231T235959999Z", G_GINT64_CONSTANT(4102444799999) },
	{ "21000228T235959999Z", G_GINT64_CONSTANT(4107542399999) },
	{ "21000301T000000000Z", G_GINT64_CONSTANT(4107542400000) },
	{ "99991231T235959999Z", LAST_MS },
};

static void check_round_trip(gint64 ms)
{
	g_autofree char *text = instant_to_text(ms);
	gint64 again = UNTOUCHED;

	g_assert_true(instant_from_text(text, &again));
	g_assert_cmpint(again, ==, ms);
}

static void test_known(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
		g_autofree char *text = instant_to_text(known[i].ms);
		gint64 ms = UNTOUCHED;

		g_assert_cmpstr(text, ==, known[i].text);
		g_assert_true(instant_from_text(known[i].text, &ms));
		g_assert_cmpint(ms, ==, known[i].ms);
	}
}

static gint64 random_ms(void)
{
	gint64 seconds = g_test_rand_double_range(0, LAST_MS / 1000);

	return seconds * 1000 + g_test_rand_int_range(0, 1000);
}

/* The texts sort as the instants do, and all have one length. */
static void test_random(void)
{
	for (int i = 0; i < 20000; i++) {
		gint64 a = random_ms();
		gint64 b = i % 2 ? random_ms() :
				   a + g_test_rand_int_range(0, 3);
		g_autofree char *text_a = instant_to_text(a);
		g_autofree char *text_b = instant_to_text(b);
		int order = strcmp(text_a, text_b);

		check_round_trip(a);
		g_assert_cmpuint(strlen(text_a), ==, strlen(text_b));
		g_assert_cmpint((order > 0) - (order < 0), ==,
			(a > b) - (a < b));
	}
}

/* Around every midnight of 1970 to 2105: every month, every leap day. */
static void test_every_day(void)
{
	const gint64 day_ms = G_GINT64_CONSTANT(86400000);

	for (gint64 day = 1; day < 136 * 366; day++) {
		check_round_trip(day * day_ms - 1);
		check_round_trip(day * day_ms);
	}
}

static void test_now(void)
{
	gint64 before = g_get_real_time() / 1000;
	gint64 now = instant_now();
	gint64 after = g_get_real_time() / 1000;

	g_assert_cmpint(before, <=, now);
	g_assert_cmpint(now, <=, after);
	check_round_trip(now);
}

/* The text is UTC, wherever we are. */
static void test_time_zone(void)
{
	g_assert_true(g_setenv("TZ", "America/New_York", TRUE));
	test_known();
	g_assert_true(g_setenv("TZ", "Asia/Kolkata", TRUE));
	test_known();
}

static const char *const refused[] = {
	/* another length */
	"", "2", "20261120", "20261120T234501Z", "20261120T23450112Z",
	"20261120T2345011234Z", "20261120T234501123", "2026112T234501123Z",
	"020261120T234501123Z",
	/* something around it */
	"20261120T234501123Zx", "20261120T234501123Z ", " 20261120T234501123Z",
	"20261120T234501123Z\n", "20261120T234501123Z.pending",
	"c20261120T234501123Z",
	/* other characters */
	"2O261120T234501123Z", "20261120t234501123Z", "20261120T234501123z",
	"20261120 234501123Z", "20261120T234501.23Z", "20261120T23450112aZ",
	"+0261120T234501123Z", "-0261120T234501123Z", "2026112 T234501123Z",
	"2026 120T234501123Z", "20261120T234501-23Z", "20261120T2345011230",
	"20261120T234501123+", "2026112\xd9\xa1T23450112Z",
	"now", "xxxxxxxxTxxxxxxxxxZ", "0x261120T234501123Z",
	/* no such date */
	"20260230T000000000Z", "20260229T000000000Z", "21000229T000000000Z",
	"19000229T000000000Z", "20240230T000000000Z", "20260431T000000000Z",
	"20260001T000000000Z", "20261301T000000000Z", "20260100T000000000Z",
	"20260132T000000000Z", "00000101T000000000Z", "20269999T000000000Z",
	/* no such time of day */
	"20261120T240000000Z", "20261120T250000000Z", "20261120T236000000Z",
	"20261120T235960000Z", "20161231T235960000Z", "20261120T999999999Z",
	/* before 1970 */
	"19691231T235959999Z", "00010101T000000000Z",
};

static void test_refused(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		gint64 ms = UNTOUCHED;

		g_test_message("%s", refused[i]);
		g_assert_false(instant_from_text(refused[i], &ms));
		g_assert_cmpint(ms, ==, UNTOUCHED);
	}
}

/* Whatever is accepted is the text of what was read. */
static void test_mutated(void)
{
	static const char alphabet[] = "0123456789TZz .-+";
	unsigned accepted = 0;

	for (int i = 0; i < 50000; i++) {
		g_autofree char *text = instant_to_text(random_ms());
		g_autofree char *again = NULL;
		gint64 ms;

		for (int n = g_test_rand_int_range(1, 4); n > 0; n--)
			text[g_test_rand_int_range(0, strlen(text))] =
				alphabet[g_test_rand_int_range(0,
					sizeof(alphabet) - 1)];
		if (!instant_from_text(text, &ms))
			continue;
		accepted++;
		again = instant_to_text(ms);
		g_assert_cmpstr(again, ==, text);
	}
	g_assert_cmpuint(accepted, >, 1000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/instant/known", test_known);
	g_test_add_func("/instant/random", test_random);
	g_test_add_func("/instant/every-day", test_every_day);
	g_test_add_func("/instant/now", test_now);
	g_test_add_func("/instant/time-zone", test_time_zone);
	g_test_add_func("/instant/refused", test_refused);
	g_test_add_func("/instant/mutated", test_mutated);
	return g_test_run();
}
