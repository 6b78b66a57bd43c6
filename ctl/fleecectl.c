/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fleecectl.c - the control tool: finds the subcommand and its options
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl-command.h"
#include "inherited.h"
#include "log.h"

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

static const CtlCommand *const commands[] = {
	&ctl_status,
	&ctl_snapshot,
	&ctl_commit,
	&ctl_release,
	&ctl_umount,
	&ctl_checkpoints,
	&ctl_recover,
};

static const CtlCommand *find_command(const char *name)
{
	for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (g_str_equal(commands[i]->name, name))
			return commands[i];
	}
	return NULL;
}

static int complain(int status, const char *format, ...) G_GNUC_PRINTF(2, 3);

static int complain(int status, const char *format, ...)
{
	g_autofree char *text = NULL, *line = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	line = log_line(text);
	fprintf(stderr, "fleecectl: %s\n", line);
	return status;
}

static void print_usage(FILE *file)
{
	fputs("usage: fleecectl COMMAND ...\n\n", file);
	for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
		fprintf(file, "  %s %s\n      %s\n", commands[i]->name,
			commands[i]->arguments, commands[i]->summary);
	fputs("\nMNT is where a fleecefs is mounted, SOURCE what it shows: "
	      "see fleecectl(8).\n",
		file);
}

static int print_command_usage(const CtlCommand *command, FILE *file,
	int status)
{
	fprintf(file, "usage: fleecectl %s %s\n", command->name,
		command->arguments);
	return status;
}

/* What is printed in vain, as to a full disk, is a failure too. */
static int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_DONE;
	return complain(EXIT_FAILED, "standard output: %s", strerror(errno));
}

static bool has_value(const GOptionEntry *entry, const char *word)
{
	g_autofree char *given = g_strconcat("--", entry->long_name, "=", NULL);

	return g_str_has_prefix(word, given);
}

/* GLib would take "--force=no" for "--force". */
static bool check_flags(const GOptionEntry *entry, char **words,
	GError **error)
{
	for (; entry && entry->long_name; entry++) {
		if (entry->arg != G_OPTION_ARG_NONE)
			continue;
		for (char **word = words; *word; word++) {
			if (g_str_equal(*word, "--"))
				break;
			if (!has_value(entry, *word))
				continue;
			g_set_error(error, G_OPTION_ERROR,
				G_OPTION_ERROR_BAD_VALUE,
				"Option --%s takes no value",
				entry->long_name);
			return false;
		}
	}
	return true;
}

/* *words, to be freed, is NULL where there are none. */
static bool parse(const CtlCommand *command, int argc, char **argv,
	char ***words, gboolean *help, GError **error)
{
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	const GOptionEntry common[] = {
		{ "help", 'h', 0, G_OPTION_ARG_NONE, help, NULL, NULL },
		{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, words,
			NULL, NULL },
		{ NULL },
	};

	/* GLib's own help knows nothing of the words */
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_add_main_entries(context, common, NULL);
	if (command->options)
		g_option_context_add_main_entries(context, command->options,
			NULL);
	return check_flags(common, argv, error) &&
		check_flags(command->options, argv, error) &&
		g_option_context_parse(context, &argc, &argv, error);
}

static int run_command(const CtlCommand *command, int argc, char **argv)
{
	g_auto(GStrv) words = NULL;
	g_autoptr(GError) error = NULL;
	gboolean help = FALSE;
	unsigned n;

	if (!parse(command, argc, argv, &words, &help, &error)) {
		complain(EXIT_USAGE, "%s: %s", command->name, error->message);
		return print_command_usage(command, stderr, EXIT_USAGE);
	}
	if (help) {
		print_command_usage(command, stdout, EXIT_DONE);
		return finish_output();
	}
	n = words ? g_strv_length(words) : 0;
	if (n < command->min_words || n > command->max_words)
		return print_command_usage(command, stderr, EXIT_USAGE);
	if (!command->run(command, words, &error))
		return complain(EXIT_FAILED, "%s", error->message);
	return finish_output();
}

static bool is_either(const char *word, const char *one, const char *other)
{
	return g_str_equal(word, one) || g_str_equal(word, other);
}

int main(int argc, char **argv)
{
	const CtlCommand *command;

	inherited_reset();
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (is_either(argv[1], "-h", "--help")) {
		print_usage(stdout);
		return finish_output();
	}
	if (is_either(argv[1], "-V", "--version")) {
		puts("fleecectl " FLEECEFS_VERSION);
		return finish_output();
	}
	command = find_command(argv[1]);
	if (command)
		return run_command(command, argc - 1, argv + 1);
	return complain(EXIT_USAGE, "there is no %s '%s': see fleecectl --help",
		argv[1][0] == '-' ? "option" : "command", argv[1]);
}
