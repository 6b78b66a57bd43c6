/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guardian-process.h - the life of the guardian, on its side of the fork */
#pragma once

#include <stdbool.h>

/*
 * Serves the socket until the daemon behind it (pid) is gone, cleans up and
 * ends the process.  Logs to stderr in the foreground, else to syslog(3).
 * runs_programs as in guardian_start().
 */
_Noreturn void guardian_process(int socket, int daemon_pid,
	bool foreground, bool runs_programs);
