/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks a storage daemon has, and what a chain sees of them. */
#include "discover.h"

#include <errno.h>

#include "chain.h"
#include "fleece-error.h"
#include "qmp-session.h"

#define EXPORT(id, type, node, leaving) \
	"{\"id\": \"" id "\", \"type\": \"" type "\", \"node-name\": \"" node \
	"\", \"shutting-down\": " leaving "}"
#define NODE(name, driver, more) \
	"{\"node-name\": \"" name "\", \"drv\": \"" driver "\", \"ro\": " more \
	", \"file\": \"/" name "\", \"image\": {\"virtual-size\": 1024}}"
#define VERTEX(id, name) \
	"{\"id\": " id ", \"type\": \"block-driver\", \"name\": \"" name "\"}"
#define EDGE(parent, child, name) \
	"{\"parent\": " parent ", \"child\": " child ", \"name\": \"" name "\"}"

#define EXPORTS(list) { "query-block-exports", NULL, RETURN("[" list "]") }
#define NODES(list) \
	{ "query-named-block-nodes", NULL, RETURN("[" list "]") }
#define GRAPH(nodes, edges) \
	{ "x-debug-query-block-graph", NULL, \
	  RETURN("{\"nodes\": [" nodes "], \"edges\": [" edges "]}") }

static GPtrArray *discover(Session *session, const Settings *settings)
{
	QemuPlan plan = { .daemon = true };

	return discover_exported(session->client, settings, &plan,
		&session->error);
}

/* Each node once, by name; neither ours, nor what is leaving, nor what is not
 * exported at all, nor what cannot be explained. */
static void test_disks(void)
{
	static const ScriptedStep steps[] = {
		EXPORTS(EXPORT("1", "vhost-user-blk", "b", "false") ", "
			EXPORT("2", "fuse", "a/", "false") ", "
			EXPORT("3", "nbd", "b", "false") ", "
			EXPORT("4", "nbd", "c", "true") ", "
			EXPORT("fl-1-e0", "nbd", "c", "false") ", "
			EXPORT("5", "nbd", "fl-1-c0", "false") ", "
			EXPORT("6", "nbd", "gone", "false")),
		NODES(NODE("f", "file", "false") ", " NODE("a/", "raw", "true")
			", " NODE("b", "qcow2", "false") ", "
			NODE("c", "raw", "false")),
		GRAPH(VERTEX("1", "b") ", " VERTEX("2", "f"),
			EDGE("1", "2", "file")),
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	const Settings settings = { .disks = NULL };
	g_autoptr(GPtrArray) disks = discover(&session, &settings);
	const Disk *disk;

	g_assert_no_error(session.error);
	g_assert_cmpuint(disks->len, ==, 2);
	disk = disks->pdata[0];
	g_assert_cmpstr(disk->id, ==, "a/");
	g_assert_cmpstr(disk->name, ==, "a%2F");
	g_assert_true(disk->read_only);
	disk = disks->pdata[1];
	g_assert_cmpstr(disk->node, ==, "b");
	g_assert_cmpstr(disk->driver, ==, "qcow2");
	g_assert_cmpstr(disk->file, ==, "/b");
	g_assert_cmpuint(disk->size, ==, 1024);
	g_assert_null(disk->qdev);
}

/* A disk in whose depths others write would not be at one instant; left out,
 * it does not disturb. */
static void test_below(void)
{
#define LAYERS \
	EXPORTS(EXPORT("1", "nbd", "a", "false") ", " \
		EXPORT("2", "nbd", "c", "false")), \
	NODES(NODE("a", "qcow2", "false") ", " NODE("b", "file", "false") \
		", " NODE("c", "file", "false")), \
	GRAPH(VERTEX("1", "a") ", " VERTEX("2", "b") ", " VERTEX("3", "c"), \
		EDGE("2", "3", "file") ", " EDGE("1", "2", "file"))
	static const ScriptedStep steps[] = { LAYERS, LAYERS };
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	const Settings all = { .disks = NULL };
	const Settings lower = { .disks = (char *)"c" };
	g_autoptr(GPtrArray) disks = NULL;

	g_assert_null(discover(&session, &all));
	assert_failed(&session, FLEECE_ERROR, EOPNOTSUPP,
		"disk a: node c below it");
	disks = discover(&session, &lower);
	g_assert_no_error(session.error);
	g_assert_cmpuint(disks->len, ==, 1);
}

/* While a snapshot stands, a disk is what is below our filter. */
static void test_chain(void)
{
	static const ScriptedStep steps[] = {
		{ "query-uuid", NULL, REFUSE("CommandNotFound", "no") },
		EXPORTS(EXPORT("1", "nbd", "fl-1-c0", "false")),
		NODES(NODE("t", "throttle", "false") ", "
			NODE("q", "qcow2", "false") ", "
			NODE("fl-1-c0", "copy-before-write", "false")),
		GRAPH(VERTEX("1", "fl-1-c0") ", " VERTEX("2", "t") ", "
			VERTEX("3", "q"), EDGE("1", "2", "file") ", "
			EDGE("2", "3", "file")),
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(GPtrArray) disks = chain_read(session.client, "vm",
		&session.error);
	const ChainDisk *disk;

	g_assert_no_error(session.error);
	g_assert_cmpuint(disks->len, ==, 1);
	disk = disks->pdata[0];
	g_assert_cmpstr(disk->id, ==, "t");
	g_assert_cmpstr(disk->node, ==, "q");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/exported/disks", test_disks);
	g_test_add_func("/exported/below", test_below);
	g_test_add_func("/exported/chain", test_chain);
	return g_test_run();
}
