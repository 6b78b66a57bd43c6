/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The typed QMP commands: what they send, and what they make of replies. */
#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-block.h"
#include "qmp-client.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-graph.h"
#include "qmp-job.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "qmp-transaction.h"
#include "qmp-session.h"

/* For a job that stays; still long enough for each of the queries. */
#define LIMIT_MS 1000

static void test_query_block(void)
{
	static const ScriptedStep steps[] = { {
		.command = "query-block",
		.reply = RETURN("[{\"device\": \"\", \"type\": \"unknown\", "
			"\"qdev\": \"/machine/peripheral/vd0/virtio-backend\", "
			"\"removable\": false, \"locked\": false, "
			"\"inserted\": {\"node-name\": \"d0\", "
			"\"drv\": \"qcow2\", \"ro\": true, \"new\": {}, "
			"\"image\": {\"virtual-size\": 9007199254740993}}}, "
			"{\"device\": \"cd\", \"removable\": true}]"),
	} };
	g_auto(Session) session = session_start(steps, 1);
	g_autoptr(GPtrArray) blocks = qmp_query_block(session.client,
		&session.error);
	const QmpBlock *block;

	g_assert_no_error(session.error);
	g_assert_cmpuint(blocks->len, ==, 2);
	block = blocks->pdata[0];
	g_assert_cmpstr(block->device, ==, "");
	g_assert_cmpstr(block->qdev, ==,
		"/machine/peripheral/vd0/virtio-backend");
	g_assert_false(block->removable);
	g_assert_true(block->inserted);
	g_assert_cmpstr(block->node, ==, "d0");
	g_assert_cmpstr(block->driver, ==, "qcow2");
	g_assert_true(block->read_only);
	g_assert_cmpuint(block->size, ==, 9007199254740993);
	block = blocks->pdata[1];
	g_assert_cmpstr(block->device, ==, "cd");
	g_assert_null(block->qdev);
	g_assert_true(block->removable);
	g_assert_false(block->inserted);
}

static void test_query_lists(void)
{
	static const ScriptedStep steps[] = {
		{ "query-named-block-nodes", "{\"flat\": true}",
			RETURN("[{\"node-name\": \"n\", \"drv\": \"raw\", "
			       "\"ro\": true, \"file\": \"/f\", "
			       "\"image\": {\"virtual-size\": 512}}, "
			       "{\"node-name\": \"o\", \"drv\": \"raw\", "
			       "\"ro\": false, \"file\": 1, "
			       "\"image\": {\"virtual-size\": -1}}]") },
		{ "query-block-exports", NULL,
			RETURN("[{\"id\": \"e\", \"type\": \"fuse\", "
			       "\"node-name\": \"n\", "
			       "\"shutting-down\": false}]") },
		{ "query-jobs", NULL,
			RETURN("[{\"id\": \"j\", \"type\": \"backup\", "
			       "\"status\": \"running\"}]") },
		{ "query-jobs", NULL, RETURN("[]") },
		{ "query-iothreads", NULL, RETURN("[{}, {\"id\": \"i\"}]") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	QmpClient *client = session.client;
	g_autoptr(GPtrArray) nodes = qmp_query_named_block_nodes(client, NULL);
	g_autoptr(GPtrArray) exports = qmp_query_block_exports(client, NULL);
	g_autoptr(GPtrArray) jobs = qmp_query_jobs(client, NULL);
	g_autoptr(GPtrArray) no_jobs = qmp_query_jobs(client, NULL);
	const QmpNode *node = nodes->pdata[0];
	const QmpBlockExport *block_export = exports->pdata[0];
	const QmpJob *job = jobs->pdata[0];

	g_assert_cmpstr(node->node, ==, "n");
	g_assert_cmpstr(node->driver, ==, "raw");
	g_assert_true(node->read_only);
	g_assert_cmpstr(node->file, ==, "/f");
	g_assert_cmpuint(node->size, ==, 512);
	node = nodes->pdata[1];
	g_assert_null(node->file);
	g_assert_cmpuint(node->size, ==, 0);
	g_assert_cmpstr(block_export->id, ==, "e");
	g_assert_cmpstr(block_export->type, ==, "fuse");
	g_assert_cmpstr(block_export->node, ==, "n");
	g_assert_cmpstr(job->id, ==, "j");
	g_assert_cmpstr(job->type, ==, "backup");
	g_assert_cmpstr(job->status, ==, "running");
	g_assert_cmpuint(no_jobs->len, ==, 0);
	g_assert_cmpint(qmp_query_iothreads(client, NULL), ==, 2);
}

static void test_file_child(void)
{
	static const char reply[] = RETURN(
		"{\"nodes\": [{\"id\": 1, \"type\": \"block-backend\", "
		"\"name\": \"cbw\"}, "
		"{\"id\": 2, \"type\": \"block-driver\", \"name\": \"cbw\"}, "
		"{\"id\": 3, \"type\": \"block-driver\", \"name\": \"t\"}, "
		"{\"id\": 4, \"type\": \"block-driver\", \"name\": \"top\"}], "
		"\"edges\": [{\"parent\": 1, \"child\": 3, \"name\": \"file\", "
		"\"perm\": [], \"shared-perm\": []}, "
		"{\"parent\": 2, \"child\": 3, \"name\": \"target\"}, "
		"{\"parent\": 2, \"child\": 4, \"name\": \"file\"}]}");
	static const ScriptedStep steps[] = {
		{ "x-debug-query-block-graph", NULL, reply },
		{ "x-debug-query-block-graph", NULL, reply },
		{ "x-debug-query-block-graph", NULL, reply },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autofree char *child = qmp_query_file_child(session.client, "cbw",
		&session.error);

	g_assert_no_error(session.error);
	g_assert_cmpstr(child, ==, "top");
	g_assert_null(qmp_query_file_child(session.client, "top",
		&session.error));
	assert_failed(&session, FLEECE_ERROR, ENOENT, "block-graph: node top");
	g_assert_null(qmp_query_file_child(session.client, "none",
		&session.error));
	assert_failed(&session, FLEECE_ERROR, ENOENT, "block-graph: node none");
}

#define VERTEX(id, name) \
	"{\"id\": " id ", \"type\": \"block-driver\", \"name\": \"" name "\"}"
#define EDGE(parent, child) \
	"{\"parent\": " parent ", \"child\": " child ", \"name\": \"x\"}"

/* Also where the edges are in no order, and in a loop that cannot be. */
static void test_below(void)
{
	static const ScriptedStep steps[] = {
		{ "x-debug-query-block-graph", NULL, RETURN("{\"nodes\": ["
			VERTEX("1", "a") ", " VERTEX("2", "b") ", "
			VERTEX("3", "c") ", " VERTEX("4", "d") "], "
			"\"edges\": [" EDGE("2", "3") ", " EDGE("1", "2")
			", " EDGE("4", "2") ", " EDGE("3", "2") "]}") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(QmpGraph) graph = qmp_query_graph(session.client,
		&session.error);

	g_assert_no_error(session.error);
	g_assert_true(qmp_graph_is_below(graph, "c", "a"));
	g_assert_true(qmp_graph_is_below(graph, "b", "d"));
	g_assert_false(qmp_graph_is_below(graph, "a", "c"));
	g_assert_false(qmp_graph_is_below(graph, "d", "a"));
	g_assert_false(qmp_graph_is_below(graph, "a", "a"));
	g_assert_false(qmp_graph_is_below(graph, "e", "a"));
	g_assert_false(qmp_graph_is_below(graph, "a", "e"));
}

/* Its own filter above the disk, or the disk itself. */
static void test_job(void)
{
	static const ScriptedStep steps[] = {
		{ "x-debug-query-block-graph", NULL, RETURN("{\"nodes\": ["
			VERTEX("1", "disk") ", " VERTEX("2", "base") ", "
			VERTEX("3", "theirs") ", " VERTEX("4", "other") ", "
			"{\"id\": 5, \"type\": \"block-backend\", "
			"\"name\": \"vd0\"}, {\"id\": 6, \"type\": "
			"\"block-job\", \"name\": \"copy\"}], \"edges\": ["
			EDGE("1", "2") ", " EDGE("3", "1") ", " EDGE("5", "4")
			", " EDGE("6", "3") "]}") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(QmpGraph) graph = qmp_query_graph(session.client,
		&session.error);

	g_assert_no_error(session.error);
	g_assert_cmpstr(qmp_graph_job_over(graph, "theirs"), ==, "copy");
	g_assert_cmpstr(qmp_graph_job_over(graph, "disk"), ==, "copy");
	g_assert_cmpstr(qmp_graph_job_over(graph, "base"), ==, "copy");
	g_assert_null(qmp_graph_job_over(graph, "other"));
	g_assert_null(qmp_graph_job_over(graph, "none"));
	g_assert_cmpstr(qmp_graph_parent(graph, "base"), ==, "disk");
	g_assert_cmpstr(qmp_graph_parent(graph, "disk"), ==, "theirs");
	g_assert_null(qmp_graph_parent(graph, "theirs"));
	g_assert_null(qmp_graph_parent(graph, "other"));
	g_assert_null(qmp_graph_parent(graph, "none"));
}

static void test_qom(void)
{
	static const char list[] = RETURN("[{\"name\": \"drive\", "
		"\"type\": \"str\"}, {\"name\": \"share-rw\", "
		"\"type\": \"bool\"}]");
	static const ScriptedStep steps[] = {
		{ "qom-get", "{\"path\": \"vd0\", \"property\": \"type\"}",
			RETURN("\"virtio-blk-pci\"") },
		{ "qom-get", "{\"path\": \"vd0\", \"property\": \"share-rw\"}",
			RETURN("true") },
		{ "qom-get", NULL, REFUSE("GenericError", "not found") },
		{ "qom-list", "{\"path\": \"vd0\"}", list },
		{ "qom-get", NULL, REFUSE("GenericError", "not readable") },
		{ "qom-list", NULL, list },
		{ "qom-get", NULL, REFUSE("DeviceNotFound", "no vd1") },
		{ "qom-get", NULL, REFUSE("GenericError", "not found") },
		{ "qom-list", NULL, REFUSE("DeviceNotFound", "no vd0") },
		{ "qom-list", "{\"path\": \"/objects\"}", list },
		{ "qom-list", NULL, list },
		{ "qom-set", "{\"path\": \"vd0\", \"property\": \"drive\", "
			     "\"value\": \"n\"}", RETURN("{}") },
		{ "qom-list", "{\"path\": \"/objects\"}",
			RETURN("[{\"name\": \"a\", \"type\": \"child<x>\"}, "
			       "{\"name\": \"b\", \"type\": \"child<xy>\"}, "
			       "{\"name\": \"x\", \"type\": \"x\"}]") },
		{ "qom-list", NULL, RETURN("[{\"name\": \"a\"}]") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	QmpClient *client = session.client;
	g_autofree char *type = qmp_qom_type(client, "vd0", NULL);
	bool value = false;

	g_assert_cmpstr(type, ==, "virtio-blk-pci");
	g_assert_true(qmp_qom_get_bool(client, "vd0", "share-rw", &value,
		NULL));
	g_assert_true(value);
	g_assert_true(qmp_qom_get_bool(client, "vd0", "none", &value,
		&session.error));
	g_assert_no_error(session.error);
	g_assert_false(value);
	g_assert_false(qmp_qom_get_bool(client, "vd0", "share-rw", &value,
		&session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_GENERIC,
		"qom-get: not readable");
	g_assert_false(qmp_qom_get_bool(client, "vd1", "share-rw", &value,
		&session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND,
		"qom-get: no vd1");
	g_assert_false(qmp_qom_get_bool(client, "vd0", "share-rw", &value,
		&session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND,
		"qom-get: qom-list: no vd0");
	g_assert_true(qmp_qom_has(client, "/objects", "drive", &value, NULL));
	g_assert_true(value);
	g_assert_true(qmp_qom_has(client, "/objects", "driv", &value, NULL));
	g_assert_false(value);
	g_assert_true(qmp_qom_set_drive(client, "vd0", "n", NULL));
	g_assert_cmpint(qmp_count_objects(client, "x", NULL), ==, 1);
	g_assert_cmpint(qmp_count_objects(client, "x", &session.error), ==,
		-1);
	assert_failed(&session, FLEECE_ERROR, EPROTO, "qom-list");
}

/* What goes to QEMU, argument by argument. */
static const ScriptedStep argument_steps[] = {
	{ "object-add", "{\"qom-type\": \"authz-simple\", "
		"\"id\": \"i\", \"identity\": \"a\\\"/\\u00e4\"}",
		RETURN("{}") },
	{ "object-del", "{\"id\": \"i\"}", RETURN("{}") },
	{ "blockdev-add", "{\"driver\": \"raw\", \"node-name\": \"s\", "
		"\"discard\": \"unmap\", \"cache\": "
		"{\"no-flush\": true}, \"file\": {\"driver\": "
		"\"file\", \"filename\": \"/dev/fdset/3\", "
		"\"discard\": \"unmap\"}}", RETURN("{}") },
	{ "blockdev-add", "{\"driver\": \"raw\", \"node-name\": \"s\", "
		"\"discard\": \"unmap\", \"cache\": "
		"{\"no-flush\": true}, \"file\": {\"driver\": "
		"\"file\", \"filename\": \"/dev/fdset/3\", "
		"\"discard\": \"unmap\", \"node-name\": \"f\"}}",
		RETURN("{}") },
	{ "remove-fd", "{\"fdset-id\": 3}", RETURN("{}") },
	{ "blockdev-add", "{\"driver\": \"copy-before-write\", "
		"\"node-name\": \"c\", \"file\": \"d\", "
		"\"target\": \"s\", \"on-cbw-error\": "
		"\"break-snapshot\"}", RETURN("{}") },
	{ "blockdev-add", "{\"driver\": \"copy-before-write\", "
		"\"node-name\": \"c\", \"file\": \"d\", "
		"\"target\": \"s\", \"on-cbw-error\": "
		"\"break-snapshot\", \"cbw-timeout\": 45, "
		"\"bitmap\": {\"node\": \"s\", \"name\": \"b\"}}",
		RETURN("{}") },
	{ "blockdev-add", "{\"driver\": \"snapshot-access\", "
		"\"node-name\": \"a\", \"file\": \"c\", "
		"\"discard\": \"unmap\"}", RETURN("{}") },
	{ "nbd-server-start", "{\"addr\": {\"type\": \"fd\", \"data\": "
		"{\"str\": \"f\"}}, \"max-connections\": 8}",
		RETURN("{}") },
	{ "nbd-server-start", "{\"addr\": {\"type\": \"unix\", \"data\": "
		"{\"path\": \"/s\"}}, \"max-connections\": 8}",
		RETURN("{}") },
	{ "block-export-add", "{\"type\": \"nbd\", \"id\": \"e\", "
		"\"node-name\": \"a\", \"name\": \"disk\", "
		"\"writable\": true, \"fixed-iothread\": true}",
		RETURN("{}") },
	{ "block-export-add", "{\"type\": \"nbd\", \"id\": \"e\", "
		"\"node-name\": \"a\", \"name\": \"disk\", "
		"\"writable\": false, \"bitmaps\": [{\"node\": "
		"\"s\", \"name\": \"b\"}]}", RETURN("{}") },
	{ "block-dirty-bitmap-remove", "{\"node\": \"n\", "
		"\"name\": \"b\"}", RETURN("{}") },
	{ "nbd-server-stop", NULL, RETURN("{}") },
	{ "blockdev-del", "{\"node-name\": \"a\"}", RETURN("{}") },
	{ "cont", NULL, RETURN("{}") },
};

/* The layers of an image are in each other. */
static void test_image(void)
{
#define FILE(path) "\"file\": {\"driver\": \"file\", \"filename\": \"" \
	path "\", \"read-only\": true}"
#define LAYER(driver, path) "\"driver\": \"" driver "\", " \
	"\"read-only\": true, " FILE(path)
#define ADD(options) { "blockdev-add", "{" options ", " \
	"\"node-name\": \"n\"}", RETURN("{}") }
	static const ScriptedStep steps[] = {
		ADD(LAYER("qcow2", "/a")),
		ADD(LAYER("qcow2", "/a") ", \"backing\": null"),
		ADD(LAYER("qcow2", "/a") ", \"backing\": {"
			LAYER("qcow2", "/b") "}"),
		ADD(LAYER("qcow2", "/a") ", \"backing\": {"
			LAYER("qcow2", "/b") ", \"backing\": {"
			LAYER("raw", "/c") "}}"),
	};
	static const QmpLayer layers[] = { { "/a", "qcow2" },
		{ "/b", "qcow2" }, { "/c", "raw" } };
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	QmpClient *client = session.client;

	g_assert_true(qmp_blockdev_add_image(client, "n", layers, 1, false,
		NULL));
	g_assert_true(qmp_blockdev_add_image(client, "n", layers, 1, true,
		NULL));
	g_assert_true(qmp_blockdev_add_image(client, "n", layers, 2, false,
		NULL));
	g_assert_true(qmp_blockdev_add_image(client, "n", layers, 3, true,
		NULL));
}

static void test_arguments(void)
{
	const QmpFilter filter = { "c", "d", "s", 0, NULL };
	const QmpFilter limited = { "c", "d", "s", 45, "b" };
	const QmpExport whole = { "e", "a", "disk", true, true, NULL,
		NULL };
	const char *const bitmaps[] = { "b", NULL };
	const QmpExport mapped = { "e", "a", "disk", false, false, bitmaps,
		"s" };
	g_auto(Session) session = session_start(argument_steps,
		G_N_ELEMENTS(argument_steps));
	QmpClient *client = session.client;

	g_assert_true(qmp_object_add_note(client, "i", "a\"/\xc3\xa4", NULL));
	g_assert_true(qmp_object_del(client, "i", NULL));
	g_assert_true(qmp_blockdev_add_scratch(client, "s", NULL,
		"/dev/fdset/3", NULL));
	g_assert_true(qmp_blockdev_add_scratch(client, "s", "f",
		"/dev/fdset/3", NULL));
	g_assert_true(qmp_remove_fd(client, 3, NULL));
	g_assert_true(qmp_blockdev_add_filter(client, &filter, NULL));
	g_assert_true(qmp_blockdev_add_filter(client, &limited, NULL));
	g_assert_true(qmp_blockdev_add_access(client, "a", "c", NULL));
	g_assert_true(qmp_nbd_server_start(client, "f", 8, NULL));
	g_assert_true(qmp_nbd_server_start_at(client, "/s", 8, NULL));
	g_assert_true(qmp_block_export_add(client, &whole, NULL));
	g_assert_true(qmp_block_export_add(client, &mapped, NULL));
	g_assert_true(qmp_bitmap_remove(client, "n", "b", NULL));
	g_assert_true(qmp_nbd_server_stop(client, NULL));
	g_assert_true(qmp_blockdev_del(client, "a", NULL));
	g_assert_true(qmp_cont(client, NULL));
}

#define BACKUP(n, more)                                                        \
	"{\"type\": \"blockdev-backup\", \"data\": {\"job-id\": \"j" n "\", "  \
	"\"device\": \"d" n "\", \"target\": \"s" n "\", "                     \
	"\"sync\": \"none\", \"filter-node-name\": \"c" n "\"" more "}}"
#define BREAK ", \"on-cbw-error\": \"break-snapshot\""

static QmpTransaction *two_backups(bool break_snapshot)
{
	const QmpBackup backups[] = {
		{ "j0", "d0", "s0", "c0", break_snapshot },
		{ "j1", "d1", "s1", "c1", break_snapshot },
	};
	QmpTransaction *transaction = qmp_transaction_new();

	qmp_transaction_backup(transaction, &backups[0]);
	qmp_transaction_backup(transaction, &backups[1]);
	return transaction;
}

static void test_transaction(void)
{
	static const ScriptedStep steps[] = {
		{ "transaction", "{\"actions\": [" BACKUP("0", "") ", "
			BACKUP("1", "") "]}", RETURN("{}") },
		{ "transaction", "{\"actions\": [" BACKUP("0", BREAK) ", "
			BACKUP("1", BREAK) "]}",
			REFUSE("GenericError", "no d1") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(QmpTransaction) plain = two_backups(false);
	g_autoptr(QmpTransaction) breaking = two_backups(true);

	g_assert_true(qmp_transaction_run(plain, session.client,
		&session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_transaction_run(breaking, session.client,
		&session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_GENERIC,
		"transaction: no d1");
}

#define JOB                                                                    \
	RETURN("[{\"id\": \"j0\", \"type\": \"backup\", "                      \
	       "\"status\": \"aborting\"}]")

static void test_job_cancel(void)
{
	static const ScriptedStep steps[] = {
		{ "block-job-cancel", "{\"device\": \"j0\", \"force\": true}",
			RETURN("{}") },
		{ "query-jobs", NULL, JOB },
		{ "query-jobs", NULL, EVENT JOB EVENT },
		{ "query-jobs", NULL, RETURN("[]") },
		{ "block-job-cancel", NULL,
			REFUSE("DeviceNotActive", "no j0") },
		{ "block-job-cancel", NULL, RETURN("{}") },
		{ "query-jobs", NULL, RETURN("{}") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));

	g_assert_true(qmp_job_cancel(session.client, "j0", &session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_job_cancel(session.client, "j0", &session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_DEVICE_NOT_ACTIVE,
		"block-job-cancel: no j0");
	g_assert_false(qmp_job_cancel(session.client, "j0", &session.error));
	assert_failed(&session, FLEECE_ERROR, EPROTO,
		"block-job-cancel: query-jobs: ");
}

/* The connection is none the worse for it. */
static void test_job_stays(void)
{
	static const ScriptedStep steps[] = {
		{ "block-job-cancel", NULL, RETURN("{}") },
		{ "query-jobs", NULL, JOB, .repeat = true },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	g_autoptr(GPtrArray) jobs = NULL;
	int64_t start = g_get_monotonic_time();

	qmp_client_set_timeout(session.client, LIMIT_MS);
	g_assert_false(qmp_job_cancel(session.client, "j0", &session.error));
	assert_failed(&session, FLEECE_ERROR, ETIMEDOUT,
		"block-job-cancel: j0 is still there");
	g_assert_cmpint(g_get_monotonic_time() - start, >=, LIMIT_MS * 1000);
	jobs = qmp_query_jobs(session.client, &session.error);
	g_assert_no_error(session.error);
	g_assert_cmpuint(jobs->len, ==, 1);
}

#define EXPORT                                                                 \
	RETURN("[{\"id\": \"e0\", \"type\": \"nbd\", \"node-name\": \"a\", "   \
	       "\"shutting-down\": true}]")
#define EXPORT_IN_USE                                                          \
	RETURN("[{\"id\": \"e0\", \"type\": \"nbd\", \"node-name\": \"a\", "   \
	       "\"shutting-down\": false}]")

static void test_export_del(void)
{
	static const ScriptedStep steps[] = {
		{ "block-export-del", "{\"id\": \"e0\", \"mode\": \"hard\"}",
			RETURN("{}") },
		{ "query-block-exports", NULL, EXPORT },
		{ "query-block-exports", NULL, RETURN("[]") },
		{ "block-export-del", NULL, REFUSE("GenericError", "no e0") },
		{ "query-block-exports", NULL, RETURN("[]") },
		/* On its way out since an earlier attempt. */
		{ "block-export-del", NULL, REFUSE("GenericError", "leaves") },
		{ "query-block-exports", NULL, EXPORT },
		{ "query-block-exports", NULL, EXPORT },
		{ "query-block-exports", NULL, RETURN("[]") },
		{ "block-export-del", NULL, REFUSE("CommandNotFound", "old") },
		{ "block-export-del", NULL, REFUSE("GenericError", "no e0") },
		{ "query-block-exports", NULL, RETURN("7") },
		/* Not on its way: nothing to wait for. */
		{ "block-export-del", NULL, REFUSE("GenericError", "never") },
		{ "query-block-exports", NULL, EXPORT_IN_USE },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	QmpClient *client = session.client;

	g_assert_true(qmp_block_export_del(client, "e0", &session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_block_export_del(client, "e0", &session.error));
	assert_failed(&session, FLEECE_ERROR, ENOENT, "block-export-del: ");
	g_assert_true(qmp_block_export_del(client, "e0", &session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_block_export_del(client, "e0", &session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
		"block-export-del: old");
	g_assert_false(qmp_block_export_del(client, "e0", &session.error));
	assert_failed(&session, FLEECE_ERROR, EPROTO,
		"block-export-del: query-block-exports: ");
	g_assert_false(qmp_block_export_del(client, "e0", &session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_GENERIC,
		"block-export-del: never");
}

static void test_fds_noted(void)
{
	static const ScriptedStep steps[] = {
		{ "query-fdsets", NULL,
			RETURN("[{\"fdset-id\": 1, \"fds\": [{\"fd\": 3, "
			       "\"opaque\": \"fleecefs:a\"}]}, "
			       "{\"fdset-id\": 2, \"fds\": [{\"fd\": 4, "
			       "\"opaque\": \"x:fleecefs:\"}, {\"fd\": 5}]}, "
			       "{\"fdset-id\": 3, \"fds\": []}, "
			       "{\"fdset-id\": 4, \"fds\": [{\"fd\": 6}, "
			       "{\"fd\": 7, \"opaque\": \"fleecefs:b\"}]}]") },
		/* Gone in between: as good. */
		{ "remove-fd", "{\"fdset-id\": 1}",
			REFUSE("GenericError", "not found") },
		{ "remove-fd", "{\"fdset-id\": 4}", RETURN("{}") },
		{ "closefd", "{\"fdname\": \"f\"}", RETURN("{}") },
		{ "closefd", NULL, REFUSE("GenericError", "not found") },
		{ "closefd", NULL, REFUSE("CommandNotFound", "what") },
		{ "query-fdsets", NULL, REFUSE("CommandNotFound", "what") },
		{ "query-fdsets", NULL, REFUSE("GenericError", "no") },
	};
	g_auto(Session) session = session_start(steps, G_N_ELEMENTS(steps));
	QmpClient *client = session.client;

	g_assert_true(qmp_remove_fds_noted(client, "fleecefs:",
		&session.error));
	g_assert_no_error(session.error);
	g_assert_true(qmp_closefd(client, "f", &session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_closefd(client, "f", &session.error));
	assert_failed(&session, FLEECE_ERROR, ENOENT, "closefd: not found");
	g_assert_false(qmp_closefd(client, "f", &session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
		"closefd: what");
	g_assert_true(qmp_remove_fds_noted(client, "fleecefs:",
		&session.error));
	g_assert_no_error(session.error);
	g_assert_false(qmp_remove_fds_noted(client, "fleecefs:",
		&session.error));
	assert_failed(&session, QMP_ERROR, QMP_ERROR_GENERIC,
		"query-fdsets: no");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/qmp-commands/query-block", test_query_block);
	g_test_add_func("/qmp-commands/query-lists", test_query_lists);
	g_test_add_func("/qmp-commands/file-child", test_file_child);
	g_test_add_func("/qmp-commands/below", test_below);
	g_test_add_func("/qmp-commands/job", test_job);
	g_test_add_func("/qmp-commands/qom", test_qom);
	g_test_add_func("/qmp-commands/arguments", test_arguments);
	g_test_add_func("/qmp-commands/image", test_image);
	g_test_add_func("/qmp-commands/transaction", test_transaction);
	g_test_add_func("/qmp-commands/job-cancel", test_job_cancel);
	g_test_add_func("/qmp-commands/job-stays", test_job_stays);
	g_test_add_func("/qmp-commands/export-del", test_export_del);
	g_test_add_func("/qmp-commands/fds-noted", test_fds_noted);
	return g_test_run();
}
