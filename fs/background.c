/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleece-error.h"

/* Of the caller, above the standard ones. */
static GArray *others;

static void fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* What was open before execve(2) is not to be closed by it; what a library or
 * this function has opened since is. */
static bool is_of_caller(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return fd > STDERR_FILENO && flags >= 0 && !(flags & FD_CLOEXEC);
}

static void note_others(void)
{
	g_autoptr(GDir) list = g_dir_open("/proc/self/fd", 0, NULL);
	const char *name;

	others = g_array_new(FALSE, FALSE, sizeof(int));
	while (list && (name = g_dir_read_name(list))) {
		int fd = atoi(name);

		if (is_of_caller(fd))
			g_array_append_val(others, fd);
	}
}

void background_take_open_fds(void)
{
	fill_standard_fds();
	note_others();
}

static void close_others(void)
{
	for (guint i = 0; i < others->len; i++)
		close(g_array_index(others, int, i));
	g_array_set_size(others, 0);
}

/* What ends the one who waits. */
static const int ends[] = { SIGINT, SIGTERM, SIGHUP };

static volatile sig_atomic_t started;

static void end_child(int number G_GNUC_UNUSED)
{
	kill(started, SIGTERM);
}

/* The mount is not to come up behind the back of whoever gave it up. */
static void pass_signals_on(pid_t child)
{
	struct sigaction action = { .sa_handler = end_child };

	started = child;
	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++)
		sigaction(ends[i], &action, NULL);
}

/* While a signal would meet neither the child nor the handler. */
static void hold_signals(sigset_t *before)
{
	sigset_t held;

	sigemptyset(&held);
	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++)
		sigaddset(&held, ends[i]);
	sigprocmask(SIG_BLOCK, &held, before);
}

/* One byte from the child is success; its end before that is its exit
 * status. */
static _Noreturn void wait_for_child(int fd, pid_t child)
{
	ssize_t got;
	char byte;
	int status;

	do {
		got = read(fd, &byte, 1);
	} while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	if (WIFSIGNALED(status))
		fprintf(stderr, "fleecefs: ended by signal %d before the "
			"mount stood\n", WTERMSIG(status));
	_exit(32);
}

int background_fork(GError **error)
{
	sigset_t signals;
	int pair[2];
	pid_t child;

	if (pipe2(pair, O_CLOEXEC) < 0) {
		fleece_set_error_errno(error, errno, "pipe");
		return -1;
	}
	hold_signals(&signals);
	child = fork();
	if (child > 0)
		pass_signals_on(child);
	sigprocmask(SIG_SETMASK, &signals, NULL);
	if (child < 0) {
		fleece_set_error_errno(error, errno, "fork");
		return -1;
	}
	if (child > 0) {
		close(pair[1]);
		wait_for_child(pair[0], child);
	}
	close(pair[0]);
	setsid();
	return pair[1];
}

void background_ready(int number)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	ssize_t written;

	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	close_others();
	if (chdir("/") < 0)
		g_warning("chdir /: %s", g_strerror(errno));
	written = write(number, "", 1);
	if (written != 1)
		g_warning("the starting process is gone");
	close(number);
}
