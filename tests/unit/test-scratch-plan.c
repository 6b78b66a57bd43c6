/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has to go when scratch runs short. */
#include "scratch-plan.h"

#include <glib.h>

#include "settings.h"

#define SSD 1
#define RAM 2
#define NOBODY 99

typedef struct {
	ScratchUser users[4];
	ScratchSpace spaces[2];
	uint64_t limit;
	enum scratch_verdict verdict;
	size_t victim;
} Case;

static const Case cases[] = {
	/* nobody, or all is well */
	{ { { 0, 0 } }, { { 0, 0, 0 } }, 100, SCRATCH_FINE, NOBODY },
	{ { { SSD, 50 }, { SSD, 49 } }, { { SSD, 10, 10 } }, 100,
		SCRATCH_FINE, NOBODY },
	/* the largest of all, wherever it is */
	{ { { SSD, 40 }, { RAM, 60 } }, { { SSD, 10, 0 } }, 100,
		SCRATCH_OVER_LIMIT, 1 },
	{ { { SSD, 100 } }, { { SSD, 0, 10 } }, 100, SCRATCH_OVER_LIMIT, 0 },
	{ { { SSD, 9 }, { SSD, 30 }, { RAM, 29 }, { RAM, 30 } },
		{ { SSD, 10, 0 } }, 90, SCRATCH_OVER_LIMIT, 1 },
	/* the largest of that filesystem: another one would not help */
	{ { { SSD, 40 }, { RAM, 60 }, { SSD, 41 } },
		{ { RAM, 50, 10 }, { SSD, 9, 10 } }, 200, SCRATCH_IN_RESERVE,
		2 },
	{ { { RAM, 60 } }, { { SSD, 9, 10 } }, 200, SCRATCH_FINE, NOBODY },
	/* one that has nothing helps nobody */
	{ { { SSD, 0 }, { SSD, 0 } }, { { SSD, 0, 10 } }, 100, SCRATCH_FINE,
		NOBODY },
	{ { { SSD, 0 }, { SSD, 1 } }, { { SSD, 0, 10 } }, 100,
		SCRATCH_IN_RESERVE, 1 },
};

static void test_plan(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const Case *this = &cases[i];
		size_t victim = NOBODY;

		g_test_message("case %zu", i);
		g_assert_cmpint(scratch_plan(this->users,
			G_N_ELEMENTS(this->users), this->spaces,
			G_N_ELEMENTS(this->spaces), this->limit, &victim), ==,
			this->verdict);
		g_assert_cmpuint(victim, ==, this->victim);
	}
}

static const struct {
	const char *text;
	uint64_t bytes;
	unsigned percent;
} amounts[] = {
	{ "1", 1, 0 }, { "512", 512, 0 }, { "4K", 4096, 0 },
	{ "512M", UINT64_C(512) << 20, 0 }, { "20G", UINT64_C(20) << 30, 0 },
	{ "3t", UINT64_C(3) << 40, 0 }, { "8191P", UINT64_C(8191) << 50, 0 },
	{ "1%", 0, 1 }, { "100%", 0, 100 },
};

static const char *const no_amounts[] = { "", "K", "%", "0", "0%", "101%",
	"-1", "+1", "1.5G", "10GB", "10 G", "G10", "10x", "8192P",
	"99999999999999999999", "50%%", "0x10", " 1" };

static void test_amounts(void)
{
	g_autoptr(Settings) settings = settings_new();

	for (size_t i = 0; i < G_N_ELEMENTS(amounts); i++) {
		g_assert_null(settings_set(settings, "scratch_limit",
			amounts[i].text));
		g_assert_cmpuint(settings->scratch_limit.bytes, ==,
			amounts[i].bytes);
		g_assert_cmpuint(settings->scratch_limit.percent, ==,
			amounts[i].percent);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(no_amounts); i++)
		g_assert_nonnull(settings_set(settings, "scratch_limit",
			no_amounts[i]));
	g_assert_null(settings_set(settings, "scratch_reserve", "0"));
	g_assert_cmpuint(settings->scratch_reserve.bytes, ==, 0);
	g_assert_cmpuint(settings->scratch_reserve.percent, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/scratch-plan/plan", test_plan);
	g_test_add_func("/scratch-plan/amounts", test_amounts);
	return g_test_run();
}
