/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-mount.h - a mount of fleecefs, through the files of its .fleecefs
 *
 * The codes of errors are those of the system calls.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* Whether there is a fleecefs that we may look into; else says what is. */
bool ctl_mount_check(const char *mountpoint, GError **error);

/* The text of status, to be freed. */
char *ctl_mount_status(const char *mountpoint, GError **error);

/* The control file, open for ctl_mount_command(); -1 with the error. */
int ctl_mount_open_control(const char *mountpoint, GError **error);

/*
 * Has a command, one line without its newline, carried out: 0, or the errno
 * with which the daemon refused it or failed.  Blocks until then.
 */
int ctl_mount_command(int control, const char *command);
