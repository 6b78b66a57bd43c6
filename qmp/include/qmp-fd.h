/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-fd.h - handing file descriptors to QEMU (SCM_RIGHTS)
 *
 * Conventions as in qmp-query.h.  fd stays the caller's; QEMU gets a
 * duplicate.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "qmp-client.h"

/* add-fd into a new set with the note opaque; *fdset_id is the set's, whose
 * path for QEMU is "/dev/fdset/FDSET_ID". */
bool qmp_add_fd(QmpClient *client, int fd, const char *opaque,
	int64_t *fdset_id, GError **error);

/* remove-fd of the whole set: it goes when QEMU's last use of it ends. */
bool qmp_remove_fd(QmpClient *client, int64_t fdset_id, GError **error);

/*
 * Removes every set that holds a descriptor whose note begins with prefix.
 * Nothing to remove is success, as where there is no query-fdsets.
 */
bool qmp_remove_fds_noted(QmpClient *client, const char *prefix,
	GError **error);

/* getfd: the monitor keeps fd under name, also after we disconnect. */
bool qmp_getfd(QmpClient *client, int fd, const char *name, GError **error);

/* closefd; FLEECE_ERROR with ENOENT where there is no such name. */
bool qmp_closefd(QmpClient *client, const char *name, GError **error);
