/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP connection: against a peer that misbehaves by script. */
#include "qmp-client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "autofd.h"
#include "fleece-error.h"
#include "qmp-error.h"
#include "qmp-fd.h"
#include "qmp-object.h"
#include "qmp-query.h"
#include "scripted-qmp.h"

/* Long enough for a slow machine, where the peer does answer. */
#define PATIENT_MS 20000
/* And where it does not. */
#define SHORT_MS 100

static void assert_failed(const GError *error, GQuark domain, int code,
	const char *words)
{
	g_assert_error(error, domain, code);
	if (!strstr(error->message, words))
		g_error("\"%s\" lacks \"%s\"", error->message, words);
}

static QmpClient *must_connect(const ScriptedQmp *peer)
{
	g_autoptr(GError) error = NULL;
	QmpClient *client = qmp_client_connect(scripted_qmp_path(peer),
		PATIENT_MS, &error);

	g_assert_no_error(error);
	g_assert_nonnull(client);
	return client;
}

static void assert_no_connection(const char *path, unsigned timeout_ms,
	int code, const char *words)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(qmp_client_connect(path, timeout_ms, &error));
	assert_failed(error, FLEECE_ERROR, code, words);
	if (!strstr(error->message, path))
		g_error("\"%s\" lacks \"%s\"", error->message, path);
}

static void test_connect(void)
{
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, NULL, 0);
	g_autoptr(QmpClient) client = must_connect(peer);
	unsigned major, minor, micro;

	qmp_client_version(client, &major, &minor, &micro);
	g_assert_cmpuint(major, ==, 7);
	g_assert_cmpuint(minor, ==, 2);
	g_assert_cmpuint(micro, ==, 22);
	g_assert_cmpstr(qmp_client_version_text(client), ==,
		"7.2.22 (Debian 1:7.2+dfsg)");
	g_assert_cmpuint(qmp_client_timeout(client), ==, PATIENT_MS);
	qmp_client_set_timeout(client, 7);
	g_assert_cmpuint(qmp_client_timeout(client), ==, 7);
}

static void test_no_socket(void)
{
	g_autofree char *long_path = g_strnfill(200, 'x');
	g_autofree char *folder = g_dir_make_tmp("qmp-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(folder, "file", NULL);

	assert_no_connection("/nonexistent/qmp", PATIENT_MS, ENOENT,
		"cannot connect");
	assert_no_connection(long_path, PATIENT_MS, ENAMETOOLONG, "at most");
	g_assert_true(g_file_set_contents(file, "", 0, NULL));
	assert_no_connection(file, PATIENT_MS, ECONNREFUSED, "cannot connect");
	g_unlink(file);
	g_rmdir(folder);
}

/* Milliseconds of CPU time that this thread has used. */
static int64_t used_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill_backlog(const char *path, GArray *fds)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	do {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		g_array_append_val(fds, fd);
	} while (connect(fd, (struct sockaddr *)&address, sizeof(address)) ==
		0);
	g_assert_cmpint(errno, ==, EAGAIN);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address,
		sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fd, 0), ==, 0);
	return fd;
}

static gpointer accept_later(gpointer listener)
{
	g_usleep(SHORT_MS * 1000);
	return GINT_TO_POINTER(accept(GPOINTER_TO_INT(listener), NULL, NULL));
}

static void test_full_backlog(void)
{
	g_autofree char *folder = g_dir_make_tmp("qmp-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "qmp", NULL);
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
	int64_t start = g_get_monotonic_time(), used = used_ms();
	int listener = listen_at(path);
	GThread *thread;

	fill_backlog(path, fds);
	assert_no_connection(path, SHORT_MS, ETIMEDOUT, "cannot connect");
	g_assert_cmpint(g_get_monotonic_time() - start, >=,
		(SHORT_MS - 1) * 1000);
	g_assert_cmpint(used_ms() - used, <, SHORT_MS / 2);
	/* With room in time it is the greeting that does not come. */
	thread = g_thread_new("accept", accept_later,
		GINT_TO_POINTER(listener));
	assert_no_connection(path, 3 * SHORT_MS, ETIMEDOUT, "busy");
	close(GPOINTER_TO_INT(g_thread_join(thread)));
	for (guint i = 0; i < fds->len; i++)
		close(g_array_index(fds, int, i));
	close(listener);
	g_unlink(path);
	g_rmdir(folder);
}

static void test_greeting(void)
{
	static const struct {
		const char *greeting;
		int code;
		const char *words;
	} cases[] = {
		{ "", ETIMEDOUT, "another client holds it" },
		{ "{\"QMP\": ", ETIMEDOUT, "another client holds it" },
		{ "220 mail ESMTP\r\n", EPROTO, "not a QMP monitor" },
		{ "{\"return\": {}}", EPROTO, "not a QMP monitor" },
		{ "{\"QMP\": []}", EPROTO, "not a QMP monitor" },
		{ "{\"QMP\": {}}", EPROTO, "version" },
		{ "{\"QMP\": {\"version\": {\"qemu\": {\"major\": \"7\", "
		  "\"minor\": 2, \"micro\": 1}, \"package\": \"\"}}}",
			EPROTO, "major" },
		{ "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, "
		  "\"minor\": 2, \"micro\": -1}, \"package\": \"\"}}}",
			EPROTO, "micro" },
		{ "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, "
		  "\"minor\": 2, \"micro\": 1}, \"package\": 7}}}",
			EPROTO, "package" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(ScriptedQmp) peer = scripted_qmp_new(
			cases[i].greeting, NULL, 0);
		unsigned limit = cases[i].code == ETIMEDOUT ? SHORT_MS :
							      PATIENT_MS;

		assert_no_connection(scripted_qmp_path(peer), limit,
			cases[i].code, cases[i].words);
	}
}

static void test_event_before_greeting(void)
{
	static const ScriptedStep accept[] = { {
		.command = "qmp_capabilities",
		.reply = RETURN("{}"),
	} };
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new("{\"timestamp\": "
		"{\"seconds\": 1, \"microseconds\": 2}, \"event\": "
		"\"STOP\"}\r\n{\"QMP\": {\"version\": {\"qemu\": "
		"{\"micro\": 22, \"minor\": 2, \"major\": 7}, "
		"\"package\": \"\"}, \"capabilities\": []}}\r\n",
		accept, 1);
	g_autoptr(QmpClient) client = must_connect(peer);

	g_assert_cmpstr(qmp_client_version_text(client), ==, "7.2.22");
}

static void test_greeting_closed(void)
{
	static const ScriptedStep steps[] = { {
		.command = SCRIPTED_AT_ONCE,
		.hang_up = true,
	} };
	g_autoptr(ScriptedQmp) silent = scripted_qmp_new("", steps, 1);
	g_autoptr(ScriptedQmp) half = scripted_qmp_new("{\"QMP", steps, 1);

	assert_no_connection(scripted_qmp_path(silent), PATIENT_MS, ECONNRESET,
		"closed the connection");
	assert_no_connection(scripted_qmp_path(half), PATIENT_MS, ECONNRESET,
		"cut off");
}

static void test_negotiation(void)
{
	static const char greeting[] =
		"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, "
		"\"minor\": 0, \"major\": 10}, \"package\": \"\"}}}";
	static const ScriptedStep refuse[] = { {
		.command = "qmp_capabilities",
		.reply = REFUSE("CommandNotFound", "later"),
	} };
	static const ScriptedStep silent[] = { {
		.command = "qmp_capabilities",
	} };
	static const ScriptedStep accept[] = { {
		.command = "qmp_capabilities",
		.reply = RETURN("{}"),
	} };
	g_autoptr(ScriptedQmp) first = scripted_qmp_new(greeting, refuse, 1);
	g_autoptr(ScriptedQmp) second = scripted_qmp_new(greeting, silent, 1);
	g_autoptr(ScriptedQmp) third = scripted_qmp_new(greeting, accept, 1);
	g_autoptr(QmpClient) client = must_connect(third);
	g_autoptr(GError) error = NULL;

	g_assert_cmpstr(qmp_client_version_text(client), ==, "10.0.0");
	g_assert_null(qmp_client_connect(scripted_qmp_path(first), PATIENT_MS,
		&error));
	assert_failed(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
		"qmp_capabilities: later (CommandNotFound)");
	assert_no_connection(scripted_qmp_path(second), SHORT_MS, ETIMEDOUT,
		"qmp_capabilities: no answer");
}

/* One command, which has to fail so; a second, where the first spoilt the
 * connection, must fail too and send nothing. */
static void assert_stop_fails(const ScriptedStep *step, unsigned timeout_ms,
	GQuark domain, int code, const char *words)
{
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, step, 1);
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL, again = NULL;

	qmp_client_set_timeout(client, timeout_ms);
	g_assert_false(qmp_stop(client, &error));
	assert_failed(error, domain, code, words);
	g_assert_true(g_str_has_prefix(error->message, "stop: "));
	g_assert_cmpint(qmp_error_is_refusal(error), ==, domain == QMP_ERROR);
	if (code != ETIMEDOUT)
		return;
	g_assert_false(qmp_stop(client, &again));
	assert_failed(again, FLEECE_ERROR, ECONNRESET, "stop: ");
}

static void test_silence(void)
{
	static const ScriptedStep silent = { .command = "stop" };
	static const ScriptedStep half = {
		.command = "stop",
		.reply = "{\"return\": {}, ",
	};

	assert_stop_fails(&silent, SHORT_MS, FLEECE_ERROR, ETIMEDOUT,
		"no answer within 100 ms");
	assert_stop_fails(&half, SHORT_MS, FLEECE_ERROR, ETIMEDOUT,
		"no answer within 100 ms");
}

static void test_close(void)
{
	static const ScriptedStep before = {
		.command = "stop",
		.hang_up = true,
	};
	static const ScriptedStep inside = {
		.command = "stop",
		.reply = "{\"return\": {}, \"id\":",
		.hang_up = true,
	};

	assert_stop_fails(&before, PATIENT_MS, FLEECE_ERROR, ECONNRESET,
		"closed the connection");
	assert_stop_fails(&inside, PATIENT_MS, FLEECE_ERROR, ECONNRESET,
		"cut off");
}

static void test_bad_reply(void)
{
	static const char *const replies[] = {
		"hello\r\n",
		"[]\r\n",
		"{\"id\": \"%ID%\"}\r\n",
		"{\"id\": \"%ID%\", \"return\": null}\r\n",
		"{\"id\": \"%ID%\", \"error\": null}\r\n",
		"{\"id\": \"%ID%\", \"error\": \"no\"}\r\n",
		"{\"id\": \"%ID%\", \"error\": {\"class\": \"A\"}}\r\n",
		"{\"id\": \"%ID%\", \"error\": {\"desc\": \"A\"}}\r\n",
		"{\"id\": \"%ID%\", \"error\": {\"desc\": \"A\", "
		"\"class\": 1}}\r\n",
		"{\"id\": \"%ID%\", \"error\": {\"desc\": \"a\\u0000b\", "
		"\"class\": \"A\"}}\r\n",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
		const ScriptedStep step = {
			.command = "stop",
			.reply = replies[i],
		};

		assert_stop_fails(&step, PATIENT_MS, FLEECE_ERROR, EPROTO,
			"stop: ");
	}
}

static void test_refusals(void)
{
	static const struct {
		const char *reply;
		int code;
		const char *words;
	} cases[] = {
		{ REFUSE("GenericError", "is used"), QMP_ERROR_GENERIC,
			"stop: is used (GenericError)" },
		{ REFUSE("CommandNotFound", "w"), QMP_ERROR_COMMAND_NOT_FOUND,
			"stop: w (CommandNotFound)" },
		{ REFUSE("DeviceNotActive", "x"), QMP_ERROR_DEVICE_NOT_ACTIVE,
			"stop: x (DeviceNotActive)" },
		{ REFUSE("DeviceNotFound", "y"), QMP_ERROR_DEVICE_NOT_FOUND,
			"stop: y (DeviceNotFound)" },
		{ REFUSE("KVMMissingCap", "z"), QMP_ERROR_GENERIC,
			"stop: z (KVMMissingCap)" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const ScriptedStep step = {
			.command = "stop",
			.reply = cases[i].reply,
		};

		assert_stop_fails(&step, PATIENT_MS, QMP_ERROR, cases[i].code,
			cases[i].words);
	}
}

/* What is not the answer does not count, and a refusal spoils nothing. */
static void test_strangers(void)
{
	static const ScriptedStep steps[] = {
		{ .command = "cont",
			.reply = EVENT REFUSE("GenericError", "no") EVENT },
		{ .command = "stop",
			.reply = "{\"id\": \"somebody-1\", \"return\": {}}\r\n"
				 "{\"id\": 7, \"return\": {}}\r\n"
				 "{\"error\": {\"class\": \"GenericError\", "
				 "\"desc\": \"JSON parse error\"}}\r\n"
				 "{\"return\": {}}\r\n"
				 EVENT RETURN("{}") EVENT },
		{ .command = "query-status",
			.reply = EVENT RETURN("{\"running\": false, "
				"\"status\": \"paused\", \"new\": [1]}") },
	};
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps,
		G_N_ELEMENTS(steps));
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL, refusal = NULL;
	g_autofree char *status = NULL;
	bool running = true;

	g_assert_false(qmp_cont(client, &refusal));
	assert_failed(refusal, QMP_ERROR, QMP_ERROR_GENERIC, "cont: no");
	g_assert_true(qmp_stop(client, &error));
	g_assert_no_error(error);
	g_assert_true(qmp_query_status(client, &running, &status, &error));
	g_assert_no_error(error);
	g_assert_false(running);
	g_assert_cmpstr(status, ==, "paused");
}

static void assert_same_file(int one, int other)
{
	struct stat first, second;

	g_assert_cmpint(fstat(one, &first), ==, 0);
	g_assert_cmpint(fstat(other, &second), ==, 0);
	g_assert_cmpuint(first.st_dev, ==, second.st_dev);
	g_assert_cmpuint(first.st_ino, ==, second.st_ino);
}

static void test_fds(void)
{
	static const ScriptedStep steps[] = {
		{ .command = "add-fd", .arguments = "{\"opaque\": \"a note\"}",
			.reply = RETURN("{\"fdset-id\": 5, \"fd\": 17}") },
		{ .command = "stop", .reply = RETURN("{}") },
		{ .command = "getfd", .arguments = "{\"fdname\": \"name\"}",
			.reply = RETURN("{}") },
	};
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps,
		G_N_ELEMENTS(steps));
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL;
	AUTOFD int first = open("/dev/null", O_RDWR | O_CLOEXEC);
	g_autofree char *name = NULL;
	AUTOFD int second = g_file_open_tmp(NULL, &name, &error);
	const GArray *fds = scripted_qmp_fds(peer);
	int64_t set = -1;

	g_assert_no_error(error);
	g_unlink(name);
	g_assert_true(qmp_add_fd(client, first, "a note", &set, &error));
	g_assert_cmpint(set, ==, 5);
	g_assert_true(qmp_stop(client, &error));
	g_assert_true(qmp_getfd(client, second, "name", &error));
	g_assert_no_error(error);
	g_clear_pointer(&client, qmp_client_free);
	scripted_qmp_wait(peer);
	g_assert_cmpuint(fds->len, ==, 2);
	assert_same_file(g_array_index(fds, int, 0), first);
	assert_same_file(g_array_index(fds, int, 1), second);
}

static void test_closed_peer(void)
{
	static const ScriptedStep steps[] = { {
		.command = SCRIPTED_AT_ONCE,
		.hang_up = true,
	} };
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, 1);
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL;

	/* Else a SIGPIPE would go unnoticed. */
	g_assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	scripted_qmp_wait(peer);
	g_assert_false(qmp_stop(client, &error));
	assert_failed(error, FLEECE_ERROR, ECONNRESET, "stop: ");
}

/* A command longer than the socket takes, which nobody reads. */
static void test_send_timeout(void)
{
	static const ScriptedStep steps[] = { {
		.command = SCRIPTED_AT_ONCE,
		.stall = true,
	} };
	g_autofree char *path = g_strnfill(8 << 20, 'x');
	g_autoptr(GError) error = NULL;
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, 1);
	g_autoptr(QmpClient) client = must_connect(peer);

	qmp_client_set_timeout(client, SHORT_MS);
	g_assert_null(qmp_qom_type(client, path, &error));
	assert_failed(error, FLEECE_ERROR, ETIMEDOUT, "qom-get: ");
}

/* And one that is read. */
static void test_long_command(void)
{
	static const ScriptedStep steps[] = { {
		.command = "qom-get",
		.reply = RETURN("\"virtio-blk-device\""),
	} };
	g_autofree char *path = g_strnfill(8 << 20, 'x');
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, 1);
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL;
	g_autofree char *type = qmp_qom_type(client, path, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(type, ==, "virtio-blk-device");
}

/* QEMU would not answer it, so it is not sent. */
static void test_no_utf8(void)
{
	static const ScriptedStep steps[] = { {
		.command = "stop",
		.reply = RETURN("{}"),
	} };
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, 1);
	g_autoptr(QmpClient) client = must_connect(peer);
	g_autoptr(GError) error = NULL;

	g_assert_null(qmp_qom_type(client, "vd\xff", &error));
	assert_failed(error, FLEECE_ERROR, EINVAL, "qom-get: ");
	g_clear_error(&error);
	g_assert_true(qmp_stop(client, &error));
	g_assert_no_error(error);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/qmp-client/connect", test_connect);
	g_test_add_func("/qmp-client/no-socket", test_no_socket);
	g_test_add_func("/qmp-client/full-backlog", test_full_backlog);
	g_test_add_func("/qmp-client/greeting", test_greeting);
	g_test_add_func("/qmp-client/event-before-greeting",
		test_event_before_greeting);
	g_test_add_func("/qmp-client/greeting-closed", test_greeting_closed);
	g_test_add_func("/qmp-client/negotiation", test_negotiation);
	g_test_add_func("/qmp-client/silence", test_silence);
	g_test_add_func("/qmp-client/close", test_close);
	g_test_add_func("/qmp-client/bad-reply", test_bad_reply);
	g_test_add_func("/qmp-client/refusals", test_refusals);
	g_test_add_func("/qmp-client/strangers", test_strangers);
	g_test_add_func("/qmp-client/fds", test_fds);
	g_test_add_func("/qmp-client/closed-peer", test_closed_peer);
	g_test_add_func("/qmp-client/send-timeout", test_send_timeout);
	g_test_add_func("/qmp-client/long-command", test_long_command);
	g_test_add_func("/qmp-client/no-utf8", test_no_utf8);
	return g_test_run();
}
