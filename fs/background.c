/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleece-error.h"

void background_fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* One byte from the child is success; its end before that is its exit
 * status. */
static _Noreturn void wait_for_child(int fd, pid_t child)
{
	char byte;
	int status;

	if (read(fd, &byte, 1) == 1)
		_exit(0);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	_exit(32);
}

int background_fork(GError **error)
{
	int pair[2];
	pid_t child;

	if (pipe2(pair, O_CLOEXEC) < 0) {
		fleece_set_error_errno(error, errno, "pipe");
		return -1;
	}
	child = fork();
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
	if (chdir("/") < 0)
		g_warning("chdir /: %s", g_strerror(errno));
	written = write(number, "", 1);
	if (written != 1)
		g_warning("the starting process is gone");
	close(number);
}
