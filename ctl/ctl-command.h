/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-command.h - what a subcommand of fleecectl is
 *
 * Another one is a file ctl-NAME.c with its CtlCommand, a line at the end of
 * this header, and a row of the table in fleecectl.c.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct CtlCommand CtlCommand;

struct CtlCommand {
	const char *name;
	const char *arguments; /* as the usage shows them, options too */
	const char *summary;   /* what it does, in half a line */

	/* Ended by an empty entry, or NULL; set before run() is called. */
	const GOptionEntry *options;

	/* How many words it takes that are no options. */
	unsigned min_words, max_words;

	/*
	 * Does it.  words has min_words to max_words of them and a NULL.  What
	 * is to be seen goes to stdout.  The error says what failed in one
	 * phrase, which main() prints: exit status 1.
	 */
	bool (*run)(const CtlCommand *self, char **words, GError **error);
};

extern const CtlCommand ctl_status;
extern const CtlCommand ctl_snapshot;
extern const CtlCommand ctl_commit;
extern const CtlCommand ctl_release;
extern const CtlCommand ctl_umount;
extern const CtlCommand ctl_checkpoints;
extern const CtlCommand ctl_recover;
