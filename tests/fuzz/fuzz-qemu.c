/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole conversation with a QEMU that says anything: finding disks, reading
 * chains, and above all recovery, which may never touch what is not ours.
 */
#include <stdio.h>

#include "agent.h"
#include "chain.h"
#include "checkpoint.h"
#include "discover.h"
#include "fake-qmp.h"
#include "owner.h"
#include "recover.h"

/* Nobody's agent is called. */
bool agent_thaw_at(const Monitor *where, unsigned timeout_ms, uint64_t *count,
	GError **error)
{
	g_assert_cmpint(where->at[0], ==, '/');
	g_assert_null(where->uuid);
	*count = 0;
	return true;
}

static const char *argument(json_object *arguments, const char *name)
{
	return json_object_get_string(json_object_object_get(arguments, name));
}

static void assert_ours(json_object *arguments, const char *name)
{
	g_assert_true(g_str_has_prefix(argument(arguments, name),
		FLEECE_PREFIX));
}

static void assert_pending(json_object *arguments)
{
	g_autoptr(Checkpoint) checkpoint = checkpoint_from_name(
		argument(arguments, "name"));

	g_assert_nonnull(checkpoint);
	g_assert_true(checkpoint->pending);
}

static bool is_harmless(const char *command)
{
	static const char *const names[] = { "qom-get", "qom-list", "cont",
		"qom-set", "nbd-server-stop", "remove-fd" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (g_str_equal(command, names[i]))
			return true;
	}
	return g_str_has_prefix(command, "query-") ||
		g_str_has_prefix(command, "x-debug-query-");
}

static void watch(const char *command, json_object *arguments)
{
	if (g_str_equal(command, "blockdev-del"))
		assert_ours(arguments, "node-name");
	else if (g_str_equal(command, "block-export-del"))
		assert_ours(arguments, "id");
	else if (g_str_equal(command, "block-job-cancel"))
		assert_ours(arguments, "device");
	else if (g_str_equal(command, "closefd"))
		assert_ours(arguments, "fdname");
	else if (g_str_equal(command, "object-del"))
		g_assert_cmpstr(argument(arguments, "id"), ==, OWNER_ID);
	else if (g_str_equal(command, "block-dirty-bitmap-remove"))
		assert_pending(arguments);
	else if (!is_harmless(command))
		g_error("%s is sent", command);
}

static bool check_disks(GPtrArray *disks)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash,
		g_str_equal);

	for (guint i = 0; disks && i < disks->len; i++) {
		const Disk *disk = disks->pdata[i];

		g_assert_true(g_hash_table_add(names, disk->name));
		g_assert_null(strchr(disk->name, '/'));
		g_assert_cmpuint(disk->size, <=, UINT64_C(1) << 60);
		g_assert_true(g_str_has_prefix(disk->qdev, "/"));
		g_assert_nonnull(disk->node);
	}
	return disks;
}

static bool check_chain(GPtrArray *disks)
{
	for (guint i = 0; disks && i < disks->len; i++) {
		const ChainDisk *disk = disks->pdata[i];

		g_assert_cmpuint(strlen(disk->identity), ==,
			CHECKPOINT_IDENTITY_LENGTH);
		for (guint b = 0; b < disk->bitmaps->len; b++) {
			const ChainBitmap *bitmap = disk->bitmaps->pdata[b];

			g_assert_nonnull(bitmap->checkpoint);
			g_assert_true(bitmap->lower ||
				g_str_equal(bitmap->node, disk->node));
		}
	}
	return disks;
}

static bool talk(unsigned what, QmpClient *client, GError **error)
{
	g_autoptr(GPtrArray) disks = NULL;
	const Monitor monitor = { "/nonexistent" };
	bool teardown;

	switch (what) {
	case 0:
		return check_disks(disks = discover_disks(client, NULL,
			NULL, error));
	case 1:
		return check_chain(disks = chain_read(client, "vm", error));
	case 2:
		return recover(client, &monitor, "vm", &teardown, error);
	case 3:
		return chain_drop_pending(client, "vm", error);
	default:
		return recover_by_force(client, &monitor, "vm", error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned what = fuzz_byte(&in) % 5;
	g_autoptr(QmpClient) client = fake_qmp_new(in, watch);
	g_autoptr(GError) error = NULL;
	bool good;

	fuzz_log_nothing();
	good = talk(what, client, &error);
	fuzz_assert_told(good, error);
	return 0;
}
