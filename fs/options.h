/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - the command line: what mount.fleecefs(8) describes
 *
 * Understands its own syntax and, when called as a mount helper
 * ("mount.fleecefs", "mount.fuse.fleecefs"), that of mount(8).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <fuse_lowlevel.h>

#include "settings.h"

typedef struct {
	char *source;      /* as given */
	char *fsname;      /* fsname=, else source */
	char *mountpoint;  /* an existing directory, without links */
	char *name;        /* name=, or NULL */
	char *vms;         /* vm=, or NULL */
	Settings *settings;
	bool snapshot_on_mkdir;
	bool strict;
	bool foreground;
	bool debug;
	bool fake;         /* mount -f: check and do nothing */
	bool allow_other;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	unsigned max_read; /* bytes of a read of the kernel's; 0: as it likes */
	struct fuse_args fuse; /* what is left for libfuse */
} Options;

/*
 * Fills options from the command line.  On failure *error is one line for
 * stderr; exit with 1 then.  --help and --version print and exit.
 */
bool options_parse(Options *options, int argc, char **argv, GError **error);
void options_clear(Options *options);
