/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#define LINES 100

static gpointer say(gpointer unused)
{
	for (unsigned i = 0; i < LINES; i++) {
		g_message("line");
		g_debug("detail");
	}
	return NULL;
}

/* Has stderr go to an unlinked file; returns the one that it was. */
static int catch_stderr(int *file)
{
	char path[] = "/tmp/test-log-XXXXXX";
	int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	*file = g_mkstemp(path);
	g_assert_cmpint(*file, >=, 0);
	g_assert_cmpint(unlink(path), ==, 0);
	g_assert_cmpint(dup2(*file, STDERR_FILENO), ==, STDERR_FILENO);
	return before;
}

static char *caught(int file, int before)
{
	char *text = g_malloc0(LINES * 100);

	g_assert_cmpint(dup2(before, STDERR_FILENO), ==, STDERR_FILENO);
	close(before);
	g_assert_cmpint(pread(file, text, LINES * 100 - 1, 0), >, 0);
	close(file);
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* Others log while it is said anew where to: for ThreadSanitizer. */
static void test_moved(void)
{
	g_autofree char *text = NULL;
	GThread *thread;
	int file, before;

	log_init(LOG_TARGET_STDERR, false);
	before = catch_stderr(&file);
	thread = g_thread_new("says", say, NULL);
	for (unsigned i = 0; i < LINES; i++)
		log_init(LOG_TARGET_STDERR, false);
	g_thread_join(thread);
	text = caught(file, before);
	g_assert_cmpuint(count(text, "fleecefs: line\n"), ==, LINES);
	g_assert_cmpuint(count(text, "detail"), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* that of a test does not ask for the writer any more (GLib 2.84) */
	g_log_set_default_handler(g_log_default_handler, NULL);
	g_test_add_func("/log/moved", test_moved);
	return g_test_run();
}
