/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listener.h - a listening unix socket that nobody else can reach
 *
 * QEMU's NBD server gets its socket from us, listening already.  The socket
 * lives in a new directory with mode 0700 for the moment in which we connect,
 * and is unlinked then: QEMU's server goes on, but has no address any more.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * A new private directory below /run, the user's runtime directory or the
 * temporary directory, whichever can be written first.  It is named after the
 * session, so that it is found when that has died.  Free with g_free().
 */
char *listener_make_directory(const char *session, GError **error);

/* All the places where it may be, to be freed with g_strfreev(). */
char **listener_directories(const char *session);

/* Where the socket is in that directory. */
char *listener_path(const char *directory);

/* A listening socket in that directory; -1 on failure.  Close-on-exec. */
int listener_open(const char *directory, GError **error);

/* Connects to it; -1 on failure.  Close-on-exec. */
int listener_connect(const char *directory, GError **error);

/* Removes the socket and the directory; does nothing where they are gone, or
 * where the directory is a symbolic link. */
void listener_remove_directory(const char *directory);
