/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - where g_message(), g_warning() and g_debug() of this program go
 *
 * In the foreground to stderr, one line each, "fleecefs: ..."; in the
 * background to syslog(3), which the journal collects too.  A thing is logged
 * once, where it is handled, never on the way up.
 */
#pragma once

#include <stdbool.h>

enum log_target {
	LOG_TARGET_STDERR,
	LOG_TARGET_SYSTEM,
};

/*
 * Sets where lines go; may be called again to move them, by the main thread,
 * while others log.  debug lets g_debug() lines through as well.
 */
void log_init(enum log_target target, bool debug);

/*
 * A copy of text that is one line and moves no cursor: what is a control
 * character in it, or no UTF-8, is replaced.  Lines that are logged have been
 * through it.  Owned by the caller.
 */
char *log_line(const char *text);
