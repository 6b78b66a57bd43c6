/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * umount.c - umount(8)'s helper
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inherited.h"
#include "log.h"
#include "unmount.h"

#define EXIT_UMOUNT 32

typedef struct {
	const char *mountpoint;
	unsigned flags;
} Request;

static bool parse(int argc, char **argv, Request *request)
{
	int option;

	while ((option = getopt(argc, argv, "flnrvsN:t:o:")) != -1) {
		if (option == 'l')
			request->flags |= UNMOUNT_LAZY;
		else if (option == 'f')
			request->flags |= UNMOUNT_FORCE;
		else if (option == '?')
			return false;
	}
	request->mountpoint = argv[optind];
	return argc == optind + 1;
}

int main(int argc, char **argv)
{
	Request request = { 0 };
	g_autoptr(GError) error = NULL;
	g_autofree char *line = NULL;

	inherited_reset();
	if (!parse(argc, argv, &request)) {
		fputs("usage: umount.fleecefs [-fl] MOUNTPOINT\n", stderr);
		return EXIT_FAILURE;
	}
	if (unmount(request.mountpoint, request.flags, &error))
		return EXIT_SUCCESS;
	line = log_line(error->message);
	fprintf(stderr, "umount.fleecefs: %s\n", line);
	return EXIT_UMOUNT;
}
