/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of the wrong shape: each typed command has to say EPROTO. */
#include <errno.h>
#include <unistd.h>

#include "fleece-error.h"
#include "qmp-access.h"
#include "qmp-client.h"
#include "qmp-fd.h"
#include "qmp-graph.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "scripted-qmp.h"

/* Runs a typed command with some arguments; true where it succeeds. */
typedef bool (*Call)(QmpClient *client, GError **error);

static bool free_list(GPtrArray *list)
{
	if (list)
		g_ptr_array_unref(list);
	return list;
}

static bool free_text(char *text)
{
	g_free(text);
	return text;
}

static bool call_block(QmpClient *client, GError **error)
{
	return free_list(qmp_query_block(client, error));
}

static bool call_nodes(QmpClient *client, GError **error)
{
	return free_list(qmp_query_named_block_nodes(client, error));
}

static bool call_exports(QmpClient *client, GError **error)
{
	return free_list(qmp_query_block_exports(client, error));
}

static bool call_jobs(QmpClient *client, GError **error)
{
	return free_list(qmp_query_jobs(client, error));
}

static bool call_iothreads(QmpClient *client, GError **error)
{
	return qmp_query_iothreads(client, error) >= 0;
}

static bool call_status(QmpClient *client, GError **error)
{
	char *status = NULL;
	bool running;
	bool ok = qmp_query_status(client, &running, &status, error);

	g_free(status);
	return ok;
}

static bool call_child(QmpClient *client, GError **error)
{
	return free_text(qmp_query_file_child(client, "n", error));
}

static bool call_qom_bool(QmpClient *client, GError **error)
{
	bool value;

	return qmp_qom_get_bool(client, "p", "b", &value, error);
}

static bool call_qom_string(QmpClient *client, GError **error)
{
	return free_text(qmp_qom_get_string(client, "p", "s", error));
}

static bool call_qom_type(QmpClient *client, GError **error)
{
	return free_text(qmp_qom_type(client, "p", error));
}

static bool call_qom_has(QmpClient *client, GError **error)
{
	bool has;

	return qmp_qom_has(client, "p", "n", &has, error);
}

static bool call_access_api(QmpClient *client, GError **error)
{
	bool has;

	return qmp_query_access_api(client, &has, error);
}

static bool call_access(QmpClient *client, GError **error)
{
	const char *const devices[] = { "d0", "d1", NULL };

	return free_list(qmp_access_set_up(client, "t", devices, error));
}

static bool call_add_fd(QmpClient *client, GError **error)
{
	int64_t set;

	return qmp_add_fd(client, STDIN_FILENO, "note", &set, error);
}

static bool call_remove_fds(QmpClient *client, GError **error)
{
	return qmp_remove_fds_noted(client, "note", error);
}

typedef struct {
	const char *command;
	Call call;
	/* Apart from those that are wrong for all: */
	const char *replies[10];
} Case;

#define INSERTED(text)                                                         \
	RETURN("[{\"device\": \"\", \"removable\": false, \"inserted\": " text \
	       "}]")

#define ACCESS(device, node, size)                                             \
	"{\"device\": \"" device "\", \"node-name\": " node ", "               \
	"\"size\": " size "}"

static const Case cases[] = {
	{ "query-block", call_block, {
		RETURN("[7]"),
		RETURN("[{}]"),
		RETURN("[{\"device\": null, \"removable\": false}]"),
		RETURN("[{\"device\": \"\", \"removable\": 0}]"),
		RETURN("[{\"device\": \"\", \"removable\": true, "
		       "\"qdev\": {}}]"),
		INSERTED("true"),
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false}"),
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false, \"image\": {}}"),
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false, \"image\": {\"virtual-size\": -1}}"),
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false, \"image\": {\"virtual-size\": "
			 "9223372036854775808}}"),
	} },
	{ "query-block", call_block, {
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false, \"image\": {\"virtual-size\": 1.5}}"),
		INSERTED("{\"node-name\": \"n\", \"drv\": \"raw\", "
			 "\"ro\": false, \"image\": {\"virtual-size\": "
			 "\"5\"}}"),
		INSERTED("{\"node-name\": \"n\", \"drv\": 1, \"ro\": false}"),
		INSERTED("{\"drv\": \"raw\", \"ro\": false}"),
		INSERTED("{\"node-name\": \"\xff\", \"drv\": \"raw\", "
			 "\"ro\": false}"),
		INSERTED("{\"node-name\": \"n\\u0000\", \"drv\": \"raw\", "
			 "\"ro\": false}"),
	} },
	{ "query-named-block-nodes", call_nodes, {
		RETURN("[[]]"),
		RETURN("[{\"node-name\": \"n\", \"drv\": \"raw\"}]"),
		RETURN("[{\"node-name\": \"n\", \"ro\": true}]"),
		RETURN("[{\"drv\": \"raw\", \"ro\": true}]"),
	} },
	{ "query-block-exports", call_exports, {
		RETURN("[null]"),
		RETURN("[{\"id\": \"e\", \"type\": \"nbd\"}]"),
		RETURN("[{\"id\": 1, \"type\": \"nbd\", "
		       "\"node-name\": \"n\"}]"),
		RETURN("[{\"id\": \"e\", \"node-name\": \"n\"}]"),
	} },
	{ "query-jobs", call_jobs, {
		RETURN("[\"j\"]"),
		RETURN("[{\"id\": \"j\", \"type\": \"backup\"}]"),
		RETURN("[{\"id\": \"j\", \"status\": \"running\"}]"),
		RETURN("[{\"type\": \"backup\", \"status\": \"running\"}]"),
	} },
	{ "query-iothreads", call_iothreads, { RETURN("[1]") } },
	{ "query-status", call_status, {
		RETURN("{}"),
		RETURN("{\"running\": true}"),
		RETURN("{\"running\": \"yes\", \"status\": \"running\"}"),
		RETURN("{\"running\": true, \"status\": 1}"),
		RETURN("[]"),
	} },
	{ "x-debug-query-block-graph", call_child, {
		RETURN("{}"),
		RETURN("{\"nodes\": [], \"edges\": {}}"),
		RETURN("{\"nodes\": [{\"id\": -1, \"type\": \"t\", "
		       "\"name\": \"n\"}], \"edges\": []}"),
		RETURN("{\"nodes\": [{\"id\": 1, \"type\": \"t\"}], "
		       "\"edges\": []}"),
		RETURN("{\"nodes\": [], \"edges\": [{\"parent\": 1, "
		       "\"child\": 2}]}"),
		RETURN("{\"nodes\": [], \"edges\": [{\"parent\": \"1\", "
		       "\"child\": 2, \"name\": \"file\"}]}"),
	} },
	{ "qom-get", call_qom_bool, { RETURN("\"true\""), RETURN("{}") } },
	{ "qom-get", call_qom_string, { RETURN("true"), RETURN("[]") } },
	{ "qom-get", call_qom_type, { RETURN("1"), RETURN("{}") } },
	{ "qom-list", call_qom_has, {
		RETURN("{}"),
		RETURN("[\"n\"]"),
		RETURN("[{}]"),
		RETURN("[{\"name\": 1}]"),
	} },
	{ "query-proxmox-support", call_access_api, {
		RETURN("[]"),
		RETURN("{\"backup-access-api\": \"true\"}"),
	} },
	{ "backup-access-setup", call_access, {
		RETURN("{}"),
		RETURN("[]"),
		RETURN("[" ACCESS("d0", "\"a\"", "5") "]"),
		RETURN("[" ACCESS("d1", "\"a\"", "5") ", "
			ACCESS("d0", "\"b\"", "5") "]"),
		RETURN("[" ACCESS("d0", "\"a\"", "5") ", "
			ACCESS("d1", "null", "5") "]"),
		RETURN("[" ACCESS("d0", "\"a\"", "-1") ", "
			ACCESS("d1", "\"b\"", "5") "]"),
		RETURN("[" ACCESS("d0", "\"a\"", "5") ", "
			ACCESS("d1", "\"b\"", "5") ", "
			ACCESS("d2", "\"c\"", "5") "]"),
	} },
	{ "add-fd", call_add_fd, {
		RETURN("{}"),
		RETURN("{\"fdset-id\": \"1\", \"fd\": 1}"),
		RETURN("{\"fdset-id\": -1, \"fd\": 1}"),
		RETURN("[]"),
	} },
	{ "query-fdsets", call_remove_fds, {
		RETURN("{}"),
		RETURN("[1]"),
		RETURN("[{\"fdset-id\": 1}]"),
		RETURN("[{\"fds\": []}]"),
		RETURN("[{\"fdset-id\": 1, \"fds\": [1]}]"),
		RETURN("[{\"fdset-id\": 1, \"fds\": [{\"opaque\": 1}]}]"),
	} },
};

static const char *const always_wrong[] = {
	RETURN("null"),
	RETURN("1.5"),
	RETURN("7"),
	"{\"id\": \"%ID%\"}",
};

static void assert_protocol_error(const Case *one, const char *reply)
{
	const ScriptedStep step = { .command = one->command, .reply = reply };
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, &step, 1);
	g_autoptr(GError) error = NULL;
	g_autoptr(QmpClient) client = qmp_client_connect(
		scripted_qmp_path(peer), 20000, &error);

	g_assert_no_error(error);
	if (one->call(client, &error))
		g_error("%s accepts %s", one->command, reply);
	g_assert_error(error, FLEECE_ERROR, EPROTO);
	g_assert_true(g_str_has_prefix(error->message, one->command));
}

static void test_wrong(gconstpointer data)
{
	const Case *one = data;

	for (size_t i = 0; i < G_N_ELEMENTS(always_wrong); i++)
		assert_protocol_error(one, always_wrong[i]);
	for (size_t i = 0; i < G_N_ELEMENTS(one->replies); i++) {
		if (one->replies[i])
			assert_protocol_error(one, one->replies[i]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *name = g_strdup_printf("/qmp-replies/%zu-%s",
			i, cases[i].command);

		g_test_add_data_func(name, &cases[i], test_wrong);
	}
	return g_test_run();
}
