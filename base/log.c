/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include <stdio.h>
#include <syslog.h>

#include <glib.h>

static gint log_target; /* enum log_target; atomic */
static gint log_debug;  /* atomic */

static int syslog_priority(GLogLevelFlags level)
{
	switch (level & G_LOG_LEVEL_MASK) {
	case G_LOG_LEVEL_ERROR:
	case G_LOG_LEVEL_CRITICAL:
		return LOG_ERR;
	case G_LOG_LEVEL_WARNING:
		return LOG_WARNING;
	case G_LOG_LEVEL_MESSAGE:
		return LOG_NOTICE;
	case G_LOG_LEVEL_INFO:
		return LOG_INFO;
	default:
		return LOG_DEBUG;
	}
}

static const char *field_message(const GLogField *fields, gsize n_fields)
{
	for (gsize i = 0; i < n_fields; i++) {
		if (g_str_equal(fields[i].key, "MESSAGE"))
			return fields[i].value;
	}
	return "";
}

/* QEMU's words may hold anything. */
char *log_line(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	GString *line = g_string_new(NULL);

	for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);

		g_string_append_unichar(line, g_unichar_iscntrl(c) ? '?' : c);
	}
	return g_string_free(line, FALSE);
}

static GLogWriterOutput write_log(GLogLevelFlags level, const GLogField *fields,
	gsize n_fields, gpointer unused)
{
	g_autofree char *message = log_line(field_message(fields, n_fields));

	if ((level & G_LOG_LEVEL_DEBUG) && !g_atomic_int_get(&log_debug))
		return G_LOG_WRITER_HANDLED;
	if (g_atomic_int_get(&log_target) == LOG_TARGET_SYSTEM)
		syslog(syslog_priority(level), "%s", message);
	else
		fprintf(stderr, "fleecefs: %s\n", message);
	return G_LOG_WRITER_HANDLED;
}

void log_init(enum log_target target, bool debug)
{
	static bool installed;

	if (target == LOG_TARGET_SYSTEM)
		openlog("fleecefs", LOG_PID, LOG_DAEMON);
	g_atomic_int_set(&log_debug, debug);
	g_atomic_int_set(&log_target, (gint)target);
	/* GLib takes a writer once in the life of a process */
	if (!installed)
		g_log_set_writer_func(write_log, NULL, NULL);
	installed = true;
}
