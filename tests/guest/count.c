// SPDX-License-Identifier: GPL-2.0-or-later
/* count FILE... - count 1, 2, 3 ... for ever, on several disks
 *
 * Each number is written to the first file and synced, then to the second
 * and so on; "count N" on stdout, a terminal, says that all of them have it,
 * and has left the machine before the next number is begun.  So at any one
 * instant a file has the number of the next file or one more, the first one
 * more than the last at most, and none has less than what was said before
 * that instant, or more than that and one.
 *
 * A number is written over the last one, in one sector: it is never torn. */

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { MOST = 8, WIDTH = 16 };

static void write_synced(int fd, const char *name, long number)
{
	char text[32];

	snprintf(text, sizeof text, "%*ld\n", WIDTH - 1, number);
	if (pwrite(fd, text, WIDTH, 0) != WIDTH || fsync(fd) != 0)
		err(1, "%s", name);
}

int main(int argc, char **argv)
{
	int fds[MOST];

	if (argc < 2 || argc > MOST + 1)
		errx(1, "usage: count FILE...");
	for (int i = 1; i < argc; i++) {
		fds[i - 1] = open(argv[i], O_WRONLY | O_CREAT, 0644);
		if (fds[i - 1] < 0)
			err(1, "%s", argv[i]);
	}
	for (long number = 1;; number++) {
		for (int i = 1; i < argc; i++)
			write_synced(fds[i - 1], argv[i], number);
		if (printf("count %ld\n", number) < 0 || fflush(stdout) != 0 ||
		    tcdrain(STDOUT_FILENO) != 0)
			err(1, "stdout");
	}
}
