/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps over QMP: what is asked for, and what is made of replies. */
#include <errno.h>

#include "fleece-error.h"
#include "qmp-query.h"
#include "qmp-session.h"
#include "qmp-transaction.h"

#define ADD(name, more) \
	"{\"type\": \"block-dirty-bitmap-add\", \"data\": {\"node\": \"n\", " \
	"\"name\": \"" name "\", \"granularity\": 65536" more "}}"

/* In the order in which they were asked for; nothing asks for nothing. */
static void test_bitmap_transaction(void)
{
	static const ScriptedStep steps[] = {
		{ "transaction", "{\"actions\": [" ADD("r", "") ", "
			ADD("p", ", \"persistent\": true") ", "
			ADD("d", ", \"disabled\": true") ", "
			"{\"type\": \"block-dirty-bitmap-merge\", \"data\": "
			"{\"node\": \"n\", \"target\": \"d\", \"bitmaps\": "
			"[{\"node\": \"m\", \"name\": \"s\"}]}}, "
			"{\"type\": \"block-dirty-bitmap-remove\", \"data\": "
			"{\"node\": \"n\", \"name\": \"r\"}}]}",
			RETURN("{}") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(QmpTransaction) nothing = qmp_transaction_new();
	g_autoptr(QmpTransaction) all = qmp_transaction_new();

	g_assert_true(qmp_transaction_run(nothing, session.client, NULL));
	qmp_transaction_bitmap_add(all, "n", "r", 65536,
		QMP_BITMAP_RECORDING);
	qmp_transaction_bitmap_add(all, "n", "p", 65536,
		QMP_BITMAP_PERSISTENT);
	qmp_transaction_bitmap_add(all, "n", "d", 65536, QMP_BITMAP_DISABLED);
	qmp_transaction_bitmap_merge(all, "n", "d", "m", "s");
	qmp_transaction_bitmap_remove(all, "n", "r");
	g_assert_true(qmp_transaction_run(all, session.client,
		&session.error));
	g_assert_no_error(session.error);
}

#define BITMAP(name, more) \
	"{\"name\": \"" name "\", \"granularity\": 65536, \"count\": 0, " \
	"\"recording\": true, \"busy\": false, \"persistent\": false" more "}"
#define NODE(node, driver, more) \
	"{\"node-name\": \"" node "\", \"drv\": \"" driver "\", \"ro\": false" \
	more "}"
#define COMPAT(version) \
	", \"image\": {\"format-specific\": {\"type\": \"qcow2\", " \
	"\"data\": {\"compat\": \"" version "\"}}}"

static void test_nodes(void)
{
	static const ScriptedStep steps[] = {
		{ "query-named-block-nodes", "{\"flat\": true}",
			RETURN("["
			NODE("a", "qcow2", COMPAT("1.1")
				", \"dirty-bitmaps\": [" BITMAP("b", "") ", "
				"{\"granularity\": 1}, " BITMAP("", "") ", "
				"{\"name\": \"c\", \"recording\": false, "
				"\"busy\": true, \"persistent\": true, "
				"\"inconsistent\": true}]") ", "
			NODE("o", "qcow2", COMPAT("0.10")) ", "
			NODE("r", "raw", ", \"image\": {}") "]") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(
		session.client, &session.error);
	const QmpNode *node;
	const QmpBitmap *bitmap;

	g_assert_no_error(session.error);
	node = nodes->pdata[0];
	g_assert_true(node->keeps_bitmaps);
	g_assert_cmpuint(node->bitmaps->len, ==, 2);
	bitmap = node->bitmaps->pdata[0];
	g_assert_cmpstr(bitmap->name, ==, "b");
	g_assert_true(bitmap->recording && !bitmap->busy &&
		!bitmap->persistent && !bitmap->inconsistent);
	bitmap = node->bitmaps->pdata[1];
	g_assert_cmpstr(bitmap->name, ==, "c");
	g_assert_true(!bitmap->recording && bitmap->busy &&
		bitmap->persistent && bitmap->inconsistent);
	for (unsigned i = 1; i <= 2; i++) {
		node = nodes->pdata[i];
		g_assert_false(node->keeps_bitmaps);
		g_assert_cmpuint(node->bitmaps->len, ==, 0);
	}
}

static void assert_refused(const char *bitmaps)
{
	g_autofree char *reply = g_strconcat("{\"id\": \"%ID%\", \"return\": "
		"[{\"node-name\": \"n\", \"drv\": \"raw\", \"ro\": false, "
		"\"dirty-bitmaps\": ", bitmaps, "}]}\r\n", NULL);
	const ScriptedStep steps[] = {
		{ .command = "query-named-block-nodes", .reply = reply },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));

	g_assert_null(qmp_query_named_block_nodes(session.client,
		&session.error));
	assert_failed(&session, FLEECE_ERROR, EPROTO,
		"query-named-block-nodes");
}

/* A bitmap whose state is not known must not be taken for a good one. */
static void test_bad_bitmaps(void)
{
	assert_refused("{}");
	assert_refused("[1]");
	assert_refused("[{\"name\": \"b\"}]");
	assert_refused("[{\"name\": \"b\", \"recording\": true, "
		"\"busy\": false}]");
	assert_refused("[{\"name\": \"b\", \"recording\": 1, "
		"\"busy\": false, \"persistent\": false}]");
	assert_refused("[" BITMAP("b", ", \"inconsistent\": \"no\"") "]");
}

static void test_uuid(void)
{
	static const ScriptedStep steps[] = {
		{ "query-uuid", NULL, RETURN("{\"UUID\": \"u\"}") },
		{ "query-uuid", NULL, RETURN("{}") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autofree char *uuid = qmp_query_uuid(session.client, NULL);

	g_assert_cmpstr(uuid, ==, "u");
	g_assert_null(qmp_query_uuid(session.client, &session.error));
	assert_failed(&session, FLEECE_ERROR, EPROTO, "query-uuid");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/qmp-bitmaps/transaction", test_bitmap_transaction);
	g_test_add_func("/qmp-bitmaps/nodes", test_nodes);
	g_test_add_func("/qmp-bitmaps/bad", test_bad_bitmaps);
	g_test_add_func("/qmp-bitmaps/uuid", test_uuid);
	return g_test_run();
}
