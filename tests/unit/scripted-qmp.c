/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scripted-qmp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <json-c/json.h>

static const char good_greeting[] =
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, "
	"\"major\": 7}, \"package\": \"Debian 1:7.2+dfsg\"}, "
	"\"capabilities\": [\"oob\"]}}\r\n";

static const ScriptedStep negotiation = {
	.command = "qmp_capabilities",
	.reply = RETURN("{}"),
};

struct ScriptedQmp {
	char *folder;
	char *path;
	int listener;
	int connection; /* the thread's */
	const char *greeting;
	const ScriptedStep *steps;
	size_t n_steps;
	GString *received; /* the thread's: bytes not yet taken as commands */
	GArray *fds;       /* the thread's until it is joined */
	GThread *thread;
};

static void collect_fds(ScriptedQmp *peer, struct msghdr *message)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		int fd;

		g_assert_cmpint(header->cmsg_type, ==, SCM_RIGHTS);
		g_assert_cmpuint(header->cmsg_len, ==, CMSG_LEN(sizeof(fd)));
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
		g_array_append_val(peer->fds, fd);
	}
}

/* Reads more; false where the client closed. */
static bool receive(ScriptedQmp *peer)
{
	char bytes[65536];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec data = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(peer->connection, &message, MSG_CMSG_CLOEXEC);

	if (n < 0)
		g_assert_cmpint(errno, ==, ECONNRESET);
	if (n <= 0)
		return false;
	collect_fds(peer, &message);
	g_string_append_len(peer->received, bytes, n);
	return true;
}

/* The next line, or NULL where the client closed. */
static char *receive_line(ScriptedQmp *peer)
{
	char *end, *line;

	while (!(end = memchr(peer->received->str, '\n', peer->received->len)))
		if (!receive(peer))
			return NULL;
	line = g_strndup(peer->received->str,
		(gsize)(end - peer->received->str));
	g_string_erase(peer->received, 0, end + 1 - peer->received->str);
	return line;
}

/* The client may be gone by now; that is not the script's business. */
static void send_text(ScriptedQmp *peer, const char *text)
{
	while (*text) {
		ssize_t n = send(peer->connection, text, strlen(text),
			MSG_NOSIGNAL);

		if (n < 0)
			return;
		text += n;
	}
}

static void assert_arguments(json_object *message, const char *expected)
{
	json_object *wanted = json_tokener_parse(expected);
	json_object *given = json_object_object_get(message, "arguments");

	g_assert_nonnull(wanted);
	if (!json_object_equal(given, wanted))
		g_error("arguments are %s instead of %s",
			json_object_to_json_string(given), expected);
	json_object_put(wanted);
}

static const char *text_of(json_object *message, const char *name)
{
	return json_object_get_string(json_object_object_get(message, name));
}

static void send_reply(ScriptedQmp *peer, const char *reply, const char *id)
{
	g_autoptr(GString) text = g_string_new(reply);

	g_string_replace(text, "%ID%", id, 0);
	send_text(peer, text->str);
}

/* False where the client closed instead of sending the command. */
static bool play(ScriptedQmp *peer, const ScriptedStep *step)
{
	g_autofree char *line = NULL;
	json_object *message = NULL;

	if (g_strcmp0(step->command, SCRIPTED_AT_ONCE) != 0) {
		line = receive_line(peer);
		if (!line)
			return false;
		message = json_tokener_parse(line);
		g_assert_nonnull(message);
		if (step->command)
			g_assert_cmpstr(text_of(message, "execute"), ==,
				step->command);
		if (step->arguments)
			assert_arguments(message, step->arguments);
	}
	if (step->reply)
		send_reply(peer, step->reply,
			message ? text_of(message, "id") : "");
	json_object_put(message);
	return true;
}

static void await_hangup(ScriptedQmp *peer)
{
	struct pollfd poll_fd = { .fd = peer->connection };

	while (!(poll_fd.revents & POLLHUP))
		poll(&poll_fd, 1, -1);
}

static void play_in_full(ScriptedQmp *peer, const ScriptedStep *step)
{
	if (!play(peer, step))
		g_error("the client closed before %s", step->command);
	while (step->repeat && play(peer, step))
		continue;
	if (step->stall)
		await_hangup(peer);
}

static gpointer run(gpointer data)
{
	ScriptedQmp *peer = data;
	g_autofree char *line = NULL;
	bool deaf = false;

	peer->connection = accept(peer->listener, NULL, NULL);
	g_assert_cmpint(peer->connection, >=, 0);
	send_text(peer, peer->greeting ? peer->greeting : good_greeting);
	if (!peer->greeting)
		play_in_full(peer, &negotiation);
	for (size_t i = 0; i < peer->n_steps; i++) {
		const ScriptedStep *step = &peer->steps[i];

		g_assert_false(deaf);
		play_in_full(peer, step);
		deaf = step->repeat || step->hang_up || step->stall;
	}
	if (!deaf)
		line = receive_line(peer);
	if (line)
		g_error("not in the script: %s", line);
	close(peer->connection);
	return NULL;
}

static void listen_in_folder(ScriptedQmp *peer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	peer->folder = g_dir_make_tmp("scripted-qmp-XXXXXX", NULL);
	g_assert_nonnull(peer->folder);
	peer->path = g_build_filename(peer->folder, "qmp", NULL);
	g_assert_cmpuint(g_strlcpy(address.sun_path, peer->path,
		sizeof(address.sun_path)), <, sizeof(address.sun_path));
	peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(peer->listener, (struct sockaddr *)&address,
		sizeof(address)), ==, 0);
	g_assert_cmpint(listen(peer->listener, 1), ==, 0);
}

ScriptedQmp *scripted_qmp_new(const char *greeting, const ScriptedStep *steps,
	size_t n_steps)
{
	ScriptedQmp *peer = g_new0(ScriptedQmp, 1);

	peer->greeting = greeting;
	peer->steps = steps;
	peer->n_steps = n_steps;
	peer->received = g_string_new(NULL);
	peer->fds = g_array_new(FALSE, FALSE, sizeof(int));
	listen_in_folder(peer);
	peer->thread = g_thread_new("scripted-qmp", run, peer);
	return peer;
}

void scripted_qmp_wait(ScriptedQmp *peer)
{
	if (peer->thread)
		g_thread_join(g_steal_pointer(&peer->thread));
}

void scripted_qmp_free(ScriptedQmp *peer)
{
	scripted_qmp_wait(peer);
	for (guint i = 0; i < peer->fds->len; i++)
		close(g_array_index(peer->fds, int, i));
	g_array_unref(peer->fds);
	g_string_free(peer->received, TRUE);
	close(peer->listener);
	g_unlink(peer->path);
	g_rmdir(peer->folder);
	g_free(peer->path);
	g_free(peer->folder);
	g_free(peer);
}

const char *scripted_qmp_path(const ScriptedQmp *peer)
{
	return peer->path;
}

const GArray *scripted_qmp_fds(const ScriptedQmp *peer)
{
	return peer->fds;
}
