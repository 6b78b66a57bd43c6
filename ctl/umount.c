/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * umount.c - umount(8)'s helper: unmount, and return when QEMU is clean
 *
 * umount(2) does not wait for a FUSE daemon.  The daemon's pid is an extended
 * attribute of the mount's root; its end is the end of the teardown.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <glib.h>

#include "autofd.h"

#define EXIT_UMOUNT 32

typedef struct {
	const char *mountpoint;
	bool lazy, force;
} Request;

static bool parse(int argc, char **argv, Request *request)
{
	int option;

	while ((option = getopt(argc, argv, "flnrvsN:t:o:")) != -1) {
		if (option == 'l')
			request->lazy = true;
		else if (option == 'f')
			request->force = true;
		else if (option == '?')
			return false;
	}
	request->mountpoint = argv[optind];
	return argc == optind + 1;
}

/* -1 where this is no fleecefs, or its daemon is dead already. */
static int open_daemon(const char *mountpoint)
{
	char text[16] = "";

	if (getxattr(mountpoint, "user.fleecefs.pid", text,
		    sizeof text - 1) < 0)
		return -1;
	return pidfd_open(atoi(text), 0);
}

/* For those who are not root: their mounts end through a setuid helper. */
static bool unmount_as_user(const Request *request)
{
	const char *argv[] = { "fusermount3", "-u",
		request->lazy ? "-z" : "--", request->mountpoint, NULL };
	int status;

	return g_spawn_sync(NULL, (char **)argv, NULL,
		       G_SPAWN_SEARCH_PATH | G_SPAWN_CHILD_INHERITS_STDIN,
		       NULL, NULL, NULL, NULL, &status, NULL) &&
		g_spawn_check_wait_status(status, NULL);
}

static bool unmount(const Request *request)
{
	int flags = (request->lazy ? MNT_DETACH : 0) |
		(request->force ? MNT_FORCE : 0);

	if (umount2(request->mountpoint, flags | UMOUNT_NOFOLLOW) == 0)
		return true;
	if (errno == EPERM && geteuid() != 0)
		return unmount_as_user(request);
	fprintf(stderr, "umount.fleecefs: %s: %s\n", request->mountpoint,
		strerror(errno));
	return false;
}

static void wait_for_end(int daemon)
{
	struct pollfd poller = { .fd = daemon, .events = POLLIN };

	while (poll(&poller, 1, -1) < 0 && errno == EINTR)
		;
}

int main(int argc, char **argv)
{
	Request request = { 0 };
	AUTOFD int daemon = -1;

	if (!parse(argc, argv, &request)) {
		fputs("usage: umount.fleecefs [-fl] MOUNTPOINT\n", stderr);
		return EXIT_FAILURE;
	}
	daemon = open_daemon(request.mountpoint);
	if (!unmount(&request))
		return EXIT_UMOUNT;
	/* a lazy one ends when its last file is closed: nobody waits */
	if (daemon >= 0 && !request.lazy)
		wait_for_end(daemon);
	return EXIT_SUCCESS;
}
