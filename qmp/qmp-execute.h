/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-execute.h - running one command; private to this layer
 *
 * What every typed command is made of.  The rules of qmp-client.h hold.
 */
#pragma once

#include <stdbool.h>

#include "qmp-client.h"
#include "qmp-json.h"

/* In place of a descriptor. */
#define QMP_NO_FD (-1)

/*
 * Runs command and waits for its reply, within the client's time limit.
 * arguments (NULL: none) is consumed, whatever happens.  fd, unless
 * QMP_NO_FD, goes along with the command's first byte and stays the
 * caller's.  Returns the reply's "return", never NULL without error set; it
 * is the caller's.  Errors as in qmp-error.h; EINVAL for arguments that are
 * no UTF-8, which QEMU would not answer.
 */
json_object *qmp_execute(QmpClient *client, const char *command,
	json_object *arguments, int fd, GError **error);

/* The same for commands whose reply says nothing; without a descriptor. */
bool qmp_execute_void(QmpClient *client, const char *command,
	json_object *arguments, GError **error);

/*
 * Waits until QEMU says something or a short while went by, to look at its
 * state again then: an event has no id, and the one we wait for may have
 * been sent to another client.
 */
void qmp_client_linger(QmpClient *client);

/* Sets *listed to whether QEMU still knows id. */
typedef bool (*QmpIsListed)(QmpClient *client, const char *id, bool *listed,
	GError **error);

/*
 * Asks is_listed until id is gone, within the client's time limit (and that
 * of the last query).  command names who waits in the error's message.
 */
bool qmp_wait_gone(QmpClient *client, const char *command, const char *id,
	QmpIsListed is_listed, GError **error);
