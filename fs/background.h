/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * background.h - become a daemon, and tell the caller how the start went
 *
 * The caller's process stays until background_ready() or an early end, and
 * exits with what that says: mount(8) must not return before the mount is up.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * Call it before anything is opened.  Opens /dev/null in place of each of the
 * descriptors 0 to 2 that is closed: else one of ours would get the number,
 * and with it what is printed.  Those above, which a script has open for
 * itself, a lock or a pipe, are noted for background_ready().
 */
void background_take_open_fds(void);

/*
 * Forks; returns in the child, with the number for background_ready().  The
 * parent never returns; a signal that is to end it ends the child, too, until
 * that is ready.  -1 with error set where fork fails.
 */
int background_fork(GError **error);

/* Lets the parent exit with 0 and lets go of the terminal and of what else the
 * caller had open; until then an option may name it (/dev/fd/3). */
void background_ready(int number);
