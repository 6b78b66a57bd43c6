/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scripted-agent.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <json-c/json.h>

struct ScriptedAgent {
	char *folder;
	char *path;
	int listener;
	const AgentStep *steps;
	size_t n_steps;
	/* the thread's */
	int connection; /* -1: none */
	GString *received;
	char *id;
	GThread *thread;
};

static void hang_up(ScriptedAgent *agent)
{
	close(agent->connection);
	agent->connection = -1;
	g_string_truncate(agent->received, 0);
}

/* False where nobody comes any more. */
static bool await_client(ScriptedAgent *agent)
{
	if (agent->connection < 0)
		agent->connection = accept(agent->listener, NULL, NULL);
	return agent->connection >= 0;
}

/* The next line of whichever client; NULL where none comes any more. */
static char *receive_line(ScriptedAgent *agent)
{
	while (await_client(agent)) {
		char *end = memchr(agent->received->str, '\n',
			agent->received->len), *line;
		char bytes[4096];
		ssize_t n;

		if (end) {
			line = g_strndup(agent->received->str,
				(gsize)(end - agent->received->str));
			g_string_erase(agent->received, 0,
				end + 1 - agent->received->str);
			return line;
		}
		n = recv(agent->connection, bytes, sizeof(bytes), 0);
		if (n <= 0)
			hang_up(agent);
		else
			g_string_append_len(agent->received, bytes, n);
	}
	return NULL;
}

static json_object *member(json_object *object, const char *name)
{
	return json_object_object_get(object, name);
}

static void check_command(ScriptedAgent *agent, const char *line,
	const AgentStep *step)
{
	bool delimited = line[0] == '\xff';
	json_object *message = json_tokener_parse(line + delimited);

	g_assert_nonnull(message);
	g_assert_cmpstr(json_object_get_string(member(message, "execute")), ==,
		step->command);
	g_assert_cmpint(delimited, ==, g_str_equal(step->command, SYNC));
	if (delimited) {
		g_free(agent->id);
		agent->id = g_strdup(json_object_get_string(member(
			member(message, "arguments"), "id")));
		g_assert_nonnull(agent->id);
	}
	json_object_put(message);
}

/* The client may be gone by now; that is not the script's business. */
static void answer(ScriptedAgent *agent, const AgentStep *step)
{
	g_autoptr(GString) text = g_string_new(step->reply);
	gsize piece;

	if (agent->id)
		g_string_replace(text, "%ID%", agent->id, 0);
	piece = step->dribble ? 1 : text->len;
	for (gsize at = 0; at < text->len; at += piece) {
		if (send(agent->connection, text->str + at,
			    MIN(piece, text->len - at), MSG_NOSIGNAL) < 0)
			return;
		if (step->dribble)
			g_usleep(1000);
	}
}

static gpointer run(gpointer data)
{
	ScriptedAgent *agent = data;
	g_autofree char *rest = NULL;

	for (size_t i = 0; i < agent->n_steps; i++) {
		const AgentStep *step = &agent->steps[i];
		g_autofree char *line = receive_line(agent);

		if (!line)
			g_error("nobody sent %s", step->command);
		check_command(agent, line, step);
		if (step->reply)
			answer(agent, step);
		if (step->hang_up)
			hang_up(agent);
	}
	rest = receive_line(agent);
	if (rest)
		g_error("not in the script: %s", rest);
	return NULL;
}

ScriptedAgent *scripted_agent_new(const AgentStep *steps, size_t n_steps)
{
	ScriptedAgent *agent = g_new0(ScriptedAgent, 1);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	agent->steps = steps;
	agent->n_steps = n_steps;
	agent->connection = -1;
	agent->received = g_string_new(NULL);
	agent->folder = g_dir_make_tmp("scripted-agent-XXXXXX", NULL);
	agent->path = g_build_filename(agent->folder, "agent", NULL);
	g_strlcpy(address.sun_path, agent->path, sizeof(address.sun_path));
	agent->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(agent->listener, (struct sockaddr *)&address,
		sizeof(address)), ==, 0);
	g_assert_cmpint(listen(agent->listener, 8), ==, 0);
	agent->thread = g_thread_new("scripted-agent", run, agent);
	return agent;
}

/* Whoever still waits in the backlog is served first. */
void scripted_agent_free(ScriptedAgent *agent)
{
	shutdown(agent->listener, SHUT_RD);
	g_thread_join(agent->thread);
	close(agent->listener);
	g_unlink(agent->path);
	g_rmdir(agent->folder);
	g_string_free(agent->received, TRUE);
	g_free(agent->id);
	g_free(agent->path);
	g_free(agent->folder);
	g_free(agent);
}

const char *scripted_agent_path(const ScriptedAgent *agent)
{
	return agent->path;
}
