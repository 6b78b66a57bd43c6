/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which QEMU may do what: the table of versions, row by row. */
#include "quirks.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

#define AUTO METHOD_AUTO
#define FILTER METHOD_FILTER
#define JOB METHOD_JOB

#define TOO_OLD "7.1 is needed"
#define ABORTS "method=job with iothreads aborts this QEMU"
#define STUCK "can leave the guest's I/O stuck"
#define HANGS "RHEL-34618"
#define RACES "before 10.0.10"

/* Seconds that every row asks for. */
#define WANTED 10

typedef struct {
	unsigned version;
	bool iothreads;
	enum method asked;
	bool unsafe;
	const char *refused; /* words of it; NULL: goes */
	enum method method;
	unsigned in_flight, timeout;
	bool reserve, in_pause;
	const char *warning; /* words of the only one; NULL: none */
} Row;

#define V QEMU_VERSION
#define NO_IOTHREADS false
#define IOTHREADS true

/* Those that go: reserve, in_pause, warning may be left out. */
static const Row allowed[] = {
	{ V(7, 1, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4 },
	{ V(7, 2, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4 },
	{ V(7, 2, 14), NO_IOTHREADS, FILTER, 0, NULL, FILTER, 1, 4 },
	{ V(7, 2, 14), NO_IOTHREADS, JOB, 0, NULL, JOB, 1, 0, true },
	{ V(7, 2, 15), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 0, 4 },
	{ V(7, 2, 22), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 0, 4 },
	{ V(7, 2, 22), NO_IOTHREADS, JOB, 0, NULL, JOB, 0, 0, true },
	/* 7.2 with iothreads: the filter, put there in a pause */
	{ V(7, 2, 13), IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4, false, true },
	{ V(7, 2, 14), IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4, false, true },
	{ V(7, 2, 15), IOTHREADS, FILTER, 0, NULL, FILTER, 0, 4, false, true },
	{ V(7, 2, 22), IOTHREADS, AUTO, 0, NULL, FILTER, 0, 4, false, true },
	/* 8.0 to 9.0 without iothreads */
	{ V(8, 0, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4 },
	{ V(8, 1, 5), NO_IOTHREADS, JOB, 0, NULL, JOB, 1, 0, true },
	{ V(8, 2, 2), NO_IOTHREADS, FILTER, 0, NULL, FILTER, 1, 4 },
	{ V(9, 0, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4, false, false,
		HANGS },
	{ V(9, 0, 1), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4, false, false,
		HANGS },
	{ V(9, 0, 2), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, 4 },
	/* and with them, by force */
	{ V(8, 0, 0), IOTHREADS, AUTO, true, NULL, FILTER, 1, 4, false, true,
		STUCK },
	{ V(8, 2, 2), IOTHREADS, JOB, true, NULL, JOB, 1, 0, true, true,
		STUCK },
	{ V(9, 0, 2), IOTHREADS, FILTER, true, NULL, FILTER, 1, 4, false,
		false, STUCK },
	/* 9.1: cbw-timeout is right; overlapping requests not yet */
	{ V(9, 1, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 1, WANTED },
	{ V(9, 1, 0), IOTHREADS, AUTO, 0, NULL, FILTER, 1, WANTED },
	{ V(9, 1, 1), IOTHREADS, FILTER, 0, NULL, FILTER, 1, WANTED },
	{ V(9, 1, 2), IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED },
	{ V(9, 2, 0), NO_IOTHREADS, JOB, 0, NULL, JOB, 0, 0, true },
	/* 10.0: both methods, with and without iothreads */
	{ V(10, 0, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED, false,
		false, RACES },
	{ V(10, 0, 9), IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED, false,
		false, RACES },
	{ V(10, 0, 10), IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED },
	{ V(10, 0, 13), IOTHREADS, JOB, 0, NULL, JOB, 0, 0, true },
	{ V(10, 0, 13), NO_IOTHREADS, JOB, 0, NULL, JOB, 0, 0, true },
	/* 10.1: the job knows on-cbw-error */
	{ V(10, 1, 0), NO_IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED },
	{ V(10, 1, 0), IOTHREADS, AUTO, 0, NULL, FILTER, 0, WANTED },
	{ V(10, 1, 0), NO_IOTHREADS, JOB, 0, NULL, JOB, 0, 0 },
	{ V(10, 1, 0), IOTHREADS, JOB, 0, NULL, JOB, 0, 0 },
	{ V(10, 2, 2), IOTHREADS, FILTER, 0, NULL, FILTER, 0, WANTED },
};

static const Row refused[] = {
	{ V(6, 2, 0), NO_IOTHREADS, AUTO, false, TOO_OLD },
	{ V(7, 0, 0), NO_IOTHREADS, FILTER, false, TOO_OLD },
	{ V(7, 0, 50), IOTHREADS, AUTO, true, TOO_OLD },
	{ V(7, 1, 0), IOTHREADS, JOB, false, ABORTS },
	{ V(7, 2, 14), IOTHREADS, JOB, false, ABORTS },
	{ V(7, 2, 22), IOTHREADS, JOB, false, ABORTS },
	{ V(7, 2, 22), IOTHREADS, JOB, true, ABORTS },
	{ V(8, 0, 0), IOTHREADS, AUTO, false, STUCK },
	{ V(8, 0, 0), IOTHREADS, JOB, false, STUCK },
	{ V(8, 1, 5), IOTHREADS, FILTER, false, STUCK },
	{ V(8, 2, 2), IOTHREADS, AUTO, false, STUCK },
	{ V(9, 0, 0), IOTHREADS, AUTO, false, STUCK },
	{ V(9, 0, 4), IOTHREADS, JOB, false, STUCK },
};

static bool plan_row(const Row *row, QemuPlan *plan, GError **error)
{
	Settings settings = { .method = row->asked, .cbw_timeout = WANTED,
		.unsafe_qemu = row->unsafe };
	QemuFacts facts = { row->version, row->iothreads };

	g_test_message("QEMU %u, iothreads %d, method %s, unsafe %d",
		row->version, row->iothreads, method_to_text(row->asked),
		row->unsafe);
	return quirks_plan(&facts, &settings, plan, error);
}

static void assert_words(const char *text, const char *words)
{
	g_assert_nonnull(text);
	if (!strstr(text, words))
		g_error("\"%s\" lacks \"%s\"", text, words);
}

static void assert_warning(const QemuPlan *plan, const char *words)
{
	if (!words) {
		g_assert_cmpstr(plan->warnings[0], ==, NULL);
		return;
	}
	assert_words(plan->warnings[0], words);
	g_assert_cmpstr(plan->warnings[1], ==, NULL);
}

static void test_allowed(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(allowed); i++) {
		const Row *row = &allowed[i];
		g_autoptr(GError) error = NULL;
		QemuPlan plan;

		plan_row(row, &plan, &error);
		g_assert_no_error(error);
		g_assert_cmpint(plan.method, ==, row->method);
		g_assert_cmpuint(plan.max_in_flight, ==, row->in_flight);
		g_assert_cmpint(plan.mixes_clusters, ==,
			row->version < V(8, 0, 0));
		g_assert_cmpuint(plan.cbw_timeout, ==, row->timeout);
		g_assert_cmpint(plan.reserve_scratch, ==, row->reserve);
		g_assert_cmpint(plan.build_in_pause, ==, row->in_pause);
		/* a job holds it itself */
		g_assert_cmpint(plan.hold_size, ==,
			row->method == FILTER && !row->iothreads);
		g_assert_nonnull(plan.reason);
		assert_warning(&plan, row->warning);
	}
}

static void test_refused(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;
		QemuPlan plan;

		g_assert_false(plan_row(&refused[i], &plan, &error));
		g_assert_error(error, FLEECE_ERROR, EOPNOTSUPP);
		assert_words(error->message, refused[i].refused);
	}
}

/* What may be overridden says how; what may not, does not. */
static void test_the_way_out_is_named(void)
{
	static const Row stuck = { V(8, 2, 2), IOTHREADS, AUTO };
	static const Row aborts = { V(7, 2, 22), IOTHREADS, JOB };
	g_autoptr(GError) first = NULL;
	g_autoptr(GError) second = NULL;
	QemuPlan plan;

	g_assert_false(plan_row(&stuck, &plan, &first));
	assert_words(first->message, "unsafe_qemu");
	g_assert_false(plan_row(&aborts, &plan, &second));
	assert_words(second->message, "method=filter");
	g_assert_null(strstr(second->message, "unsafe_qemu"));
}

typedef struct {
	enum method asked;
	bool iothreads;
	unsigned version;
	const char *refused; /* NULL: it is not */
} DaemonRow;

/* It has the job alone, and that with iothreads aborts every version. */
static void test_daemon(void)
{
	static const DaemonRow rows[] = {
		{ AUTO, NO_IOTHREADS, V(7, 2, 22), NULL },
		{ JOB, NO_IOTHREADS, V(7, 2, 22), NULL },
		{ AUTO, NO_IOTHREADS, V(10, 0, 13), NULL },
		{ FILTER, NO_IOTHREADS, V(7, 2, 22), "method=job" },
		{ METHOD_ACCESS, NO_IOTHREADS, V(10, 0, 2), "method=job" },
		{ AUTO, IOTHREADS, V(7, 2, 22), "iothreads" },
		{ AUTO, IOTHREADS, V(9, 0, 0), "iothreads" },
		{ AUTO, IOTHREADS, V(10, 0, 13), "iothreads" },
		{ AUTO, NO_IOTHREADS, V(7, 0, 0), "too old" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		const DaemonRow *row = &rows[i];
		Settings settings = { .method = row->asked };
		QemuFacts facts = { row->version, row->iothreads, true };
		g_autoptr(GError) error = NULL;
		QemuPlan plan;

		g_assert_cmpint(quirks_plan(&facts, &settings, &plan, &error),
			==, !row->refused);
		if (row->refused) {
			assert_words(error->message, row->refused);
			continue;
		}
		g_assert_true(plan.daemon);
		g_assert_cmpint(plan.method, ==, METHOD_JOB);
	}
}

/* One warning, however many disks have such an export. */
static void test_fuse(void)
{
	Settings settings = { .method = METHOD_AUTO };
	QemuPlan plan = { .daemon = true };
	g_autoptr(GError) error = NULL;

	g_assert_false(quirks_fuse(&settings, &plan, &error));
	g_assert_error(error, FLEECE_ERROR, EOPNOTSUPP);
	assert_words(error->message, "unsafe_qemu");
	settings.unsafe_qemu = true;
	g_assert_true(quirks_fuse(&settings, &plan, NULL));
	g_assert_true(quirks_fuse(&settings, &plan, NULL));
	assert_warning(&plan, "FUSE");
}

/* Only what is too long for QEMU is cut. */
static void test_short_timeout(void)
{
	Settings settings = { .method = METHOD_FILTER, .cbw_timeout = 3 };
	QemuFacts facts = { V(7, 2, 22), false };
	QemuPlan plan;

	g_assert_true(quirks_plan(&facts, &settings, &plan, NULL));
	g_assert_cmpuint(plan.cbw_timeout, ==, 3);
	settings.cbw_timeout = 5;
	g_assert_true(quirks_plan(&facts, &settings, &plan, NULL));
	g_assert_cmpuint(plan.cbw_timeout, ==, 4);
}

/* Only where it is there is it taken, and then with what it has. */
static void test_access(void)
{
	Settings settings = { .method = METHOD_ACCESS, .cbw_timeout = 3 };
	QemuFacts facts = { V(10, 0, 13), false };
	g_autoptr(GError) error = NULL;
	QemuPlan plan;

	g_assert_false(quirks_plan(&facts, &settings, &plan, &error));
	g_assert_error(error, FLEECE_ERROR, EOPNOTSUPP);
	assert_words(error->message, "method=filter");
	facts.access = true;
	g_assert_true(quirks_plan(&facts, &settings, &plan, NULL));
	g_assert_cmpint(plan.method, ==, METHOD_ACCESS);
	g_assert_cmpuint(plan.cbw_timeout, ==, 45);
	g_assert_false(plan.reserve_scratch);
	settings.method = METHOD_AUTO;
	g_assert_true(quirks_plan(&facts, &settings, &plan, NULL));
	g_assert_cmpint(plan.method, ==, METHOD_FILTER);
}

static void test_access_of_several(void)
{
	Settings settings = { .method = METHOD_ACCESS };
	QemuPlan plan = { .method = METHOD_ACCESS };
	g_autoptr(GError) error = NULL;

	g_assert_true(quirks_access(&settings, &plan, 1, NULL));
	assert_warning(&plan, NULL);
	g_assert_false(quirks_access(&settings, &plan, 2, &error));
	g_assert_error(error, FLEECE_ERROR, EOPNOTSUPP);
	assert_words(error->message, "method=filter");
	settings.unsafe_qemu = true;
	g_assert_true(quirks_access(&settings, &plan, 2, NULL));
	assert_warning(&plan, "one disk after the other");
}

/* Nothing of an earlier plan is left in the next one. */
static void test_plan_starts_empty(void)
{
	static const Row row = { V(10, 0, 13), NO_IOTHREADS, AUTO };
	QemuPlan plan;

	memset(&plan, 0xff, sizeof(plan));
	g_assert_true(plan_row(&row, &plan, NULL));
	g_assert_cmpstr(plan.warnings[0], ==, NULL);
	g_assert_false(plan.reserve_scratch);
	g_assert_false(plan.build_in_pause);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/quirks/allowed", test_allowed);
	g_test_add_func("/quirks/refused", test_refused);
	g_test_add_func("/quirks/way-out", test_the_way_out_is_named);
	g_test_add_func("/quirks/daemon", test_daemon);
	g_test_add_func("/quirks/fuse", test_fuse);
	g_test_add_func("/quirks/access", test_access);
	g_test_add_func("/quirks/access-of-several", test_access_of_several);
	g_test_add_func("/quirks/short-timeout", test_short_timeout);
	g_test_add_func("/quirks/starts-empty", test_plan_starts_empty);
	return g_test_run();
}
