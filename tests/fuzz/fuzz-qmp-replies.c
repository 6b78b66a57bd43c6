/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A byte that chooses a query, then its replies: lists of texts and numbers
 * that are what they should be, or an error that names the command. */
#include "fake-qmp.h"
#include "qmp-error.h"
#include "qmp-export.h"
#include "qmp-fd.h"
#include "qmp-graph.h"
#include "qmp-job.h"
#include "qmp-object.h"
#include "qmp-query.h"

static void is_text(const char *text)
{
	g_assert_nonnull(text);
	g_assert_true(g_utf8_validate(text, -1, NULL));
}

static bool check_blocks(GPtrArray *blocks)
{
	for (guint i = 0; blocks && i < blocks->len; i++) {
		const QmpBlock *block = blocks->pdata[i];

		is_text(block->device);
		g_assert_true(!block->qdev || block->qdev[0] == '/');
		if (!block->inserted)
			continue;
		is_text(block->node);
		is_text(block->driver);
		g_assert_cmpuint(block->size, <=, G_MAXINT64);
	}
	return blocks;
}

static void check_bitmap(const QmpBitmap *bitmap)
{
	is_text(bitmap->name);
	g_assert_cmpstr(bitmap->name, !=, "");
}

static bool check_nodes(GPtrArray *nodes)
{
	for (guint i = 0; nodes && i < nodes->len; i++) {
		const QmpNode *node = nodes->pdata[i];

		is_text(node->node);
		is_text(node->driver);
		g_assert_true(!node->keeps_bitmaps ||
			g_str_equal(node->driver, "qcow2"));
		for (guint b = 0; b < node->bitmaps->len; b++)
			check_bitmap(node->bitmaps->pdata[b]);
	}
	return nodes;
}

static bool check_exports(GPtrArray *exports)
{
	for (guint i = 0; exports && i < exports->len; i++) {
		const QmpBlockExport *entry = exports->pdata[i];

		is_text(entry->id);
		is_text(entry->type);
		is_text(entry->node);
	}
	return exports;
}

static bool check_jobs(GPtrArray *jobs)
{
	for (guint i = 0; jobs && i < jobs->len; i++) {
		const QmpJob *job = jobs->pdata[i];

		is_text(job->id);
		is_text(job->type);
		is_text(job->status);
	}
	return jobs;
}

static bool check_text(char *text)
{
	bool there = text;

	if (text)
		is_text(text);
	g_free(text);
	return there;
}

static bool check_graph(QmpGraph *graph)
{
	const char *node = "a";
	bool there = graph;

	/* whatever circles there are */
	for (unsigned i = 0; graph && node && i < 50; i++) {
		is_text(node);
		node = qmp_graph_child(graph, node, "file");
	}
	qmp_graph_free(graph);
	return there;
}

static bool ask_status(QmpClient *client, GError **error)
{
	g_autofree char *status = NULL;
	bool running;

	if (!qmp_query_status(client, &running, &status, error))
		return false;
	is_text(status);
	return true;
}

static bool ask_fd(QmpClient *client, GError **error)
{
	int64_t set = -1;
	bool added = qmp_add_fd(client, 0, "note", &set, error);

	g_assert_true(!added || set >= 0);
	return added;
}

static bool ask_list(unsigned which, QmpClient *client, GError **error)
{
	g_autoptr(GPtrArray) list = NULL;

	switch (which) {
	case 0:
		return check_blocks(list = qmp_query_block(client, error));
	case 1:
		return check_nodes(list = qmp_query_named_block_nodes(client,
			error));
	case 2:
		return check_exports(list = qmp_query_block_exports(client,
			error));
	default:
		return check_jobs(list = qmp_query_jobs(client, error));
	}
}

static bool ask(unsigned which, QmpClient *client, GError **error)
{
	bool has;

	switch (which) {
	case 4:
		return check_graph(qmp_query_graph(client, error));
	case 5:
		return check_text(qmp_query_file_child(client, "a", error));
	case 6:
		return check_text(qmp_query_uuid(client, error));
	case 7:
		return check_text(qmp_qom_get_string(client, "p", "q", error));
	case 8:
		return qmp_qom_get_bool(client, "p", "q", &has, error);
	case 9:
		return qmp_qom_has(client, "p", "q", &has, error);
	case 10:
		return ask_status(client, error);
	case 11:
		return ask_fd(client, error);
	case 12:
		return qmp_remove_fds_noted(client, "note", error);
	case 13:
		return qmp_block_export_del(client, "e", error);
	case 14:
		return qmp_job_cancel(client, "j", error);
	case 15:
		return qmp_query_iothreads(client, error) >= 0;
	default:
		return ask_list(which % 4, client, error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput in = { data, size };
	unsigned which = fuzz_byte(&in) % 16;
	g_autoptr(QmpClient) client = fake_qmp_new(in, NULL);
	g_autoptr(GError) error = NULL;
	bool good = ask(which, client, &error);

	fuzz_log_nothing();
	fuzz_assert_told(good, error);
	if (error)
		g_assert_nonnull(strchr(error->message, ':'));
	return 0;
}
