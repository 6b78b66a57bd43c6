/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose backup job it is, by the names of its exports. */
#include "domain-owner.h"

static Owner *owner_of(const char *first, const char *second)
{
	g_autoptr(GPtrArray) exports = g_ptr_array_new();
	const VirtJob job = { .exports = exports };

	if (first)
		g_ptr_array_add(exports, (gpointer)first);
	if (second)
		g_ptr_array_add(exports, (gpointer)second);
	return domain_owner_of(&job);
}

static void test_ours(void)
{
	g_autoptr(Owner) self = owner_self("0a1b2c3d", "live");
	g_autofree char *vda = domain_owner_export(self, "vda");
	g_autofree char *vdb = domain_owner_export(self, "vdb");
	g_autoptr(Owner) one = owner_of(vda, NULL);
	g_autoptr(Owner) both = owner_of(vda, vdb);

	g_assert_cmpstr(vda, !=, vdb);
	g_assert_nonnull(one);
	g_assert_cmpstr(one->session, ==, "0a1b2c3d");
	g_assert_cmpstr(one->boot, ==, self->boot);
	g_assert_cmpint(one->pid, ==, self->pid);
	g_assert_cmpuint(one->start, ==, self->start);
	g_assert_nonnull(both);
	g_assert_cmpstr(both->session, ==, "0a1b2c3d");
}

/* Nobody's is ever taken for ours, which would be aborted. */
static void test_theirs(void)
{
	static const char *const names[] = { "", "vda", "backup-vda",
		"fleecefs", "fleecefs;", "fleecefs;disk=vda",
		"fleecefs;session=0a1b2c3d", "Fleecefs;boot=b;pid=1;start=2;"
		"session=0a1b2c3d;state=live", " fleecefs;boot=b;pid=1;start=2;"
		"session=0a1b2c3d;state=live", "boot=b;pid=1;start=2;"
		"session=0a1b2c3d;state=live" };
	g_autoptr(Owner) self = owner_self("0a1b2c3d", "live");
	g_autofree char *ours = domain_owner_export(self, "vdb");

	g_assert_null(owner_of(NULL, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_test_message("'%s'", names[i]);
		g_assert_null(owner_of(names[i], NULL));
		g_assert_null(owner_of(names[i], ours));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain-owner/ours", test_ours);
	g_test_add_func("/domain-owner/theirs", test_theirs);
	return g_test_run();
}
