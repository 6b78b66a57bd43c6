/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-client.h - a QMP connection, lent for a while
 *
 * QEMU serves one client of a monitor at a time, and others need it too: an
 * administrator, a management tool.  So: connect, work, free.  A monitor
 * that somebody else holds accepts the connection and stays silent; that is
 * why connecting takes a time limit of its own.
 *
 * Every command carries a unique id and every other reply is dropped: a
 * command of a client that went away may be answered to us.  A command that
 * is not answered in time may still be carried out by QEMU, and the
 * connection is then useless: free it, connect again and look at the state
 * before acting.
 *
 * A QmpClient belongs to one thread at a time.  Writing never raises SIGPIPE.
 * What is done over it stands in the typed commands: qmp-query.h,
 * qmp-graph.h, qmp-object.h, qmp-block.h, qmp-export.h, qmp-fd.h, qmp-job.h,
 * qmp-transaction.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct QmpClient QmpClient;

/*
 * Connects to the unix socket path, reads the greeting and negotiates.
 * timeout_ms limits the whole of it, and later each command.  Errors:
 * ENOENT, ECONNREFUSED, EACCES as connect(2) says; ETIMEDOUT where the
 * greeting does not come ("the monitor is busy: another client holds it, or
 * QEMU hangs"); EPROTO for garbage; ECONNRESET where the peer closes.
 */
QmpClient *qmp_client_connect(const char *path, unsigned timeout_ms,
	GError **error);

/*
 * Another way to a monitor: somebody else holds the connection to it, and has
 * QEMU carry out one command after the other for us.
 *
 * run() gets the command's name, the whole message in one line, without an id,
 * and a descriptor that goes along (-1: none).  It returns what QEMU answered,
 * also where that is an error, for g_free().  NULL with a FLEECE_ERROR where
 * there is no answer: then the client is of no more use.  ENOENT and
 * ECONNREFUSED are not for run(): they say that there is no QEMU.
 */
typedef struct {
	char *(*run)(void *opaque, const char *command, const char *message,
		int fd, unsigned timeout_ms, GError **error);
	void (*free)(void *opaque);
} QmpCarrier;

/* Takes opaque, also where it fails, which it does where QEMU cannot be asked
 * for its version.  The carrier is static. */
QmpClient *qmp_client_over(const QmpCarrier *carrier, void *opaque_take,
	unsigned timeout_ms, GError **error);

void qmp_client_free(QmpClient *client);

/* QEMU's version, from the greeting. */
void qmp_client_version(const QmpClient *client, unsigned *major,
	unsigned *minor, unsigned *micro);

/* The same as text: "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)". */
const char *qmp_client_version_text(const QmpClient *client);

/* The time limit of a command, as given to qmp_client_connect(). */
unsigned qmp_client_timeout(const QmpClient *client);
/* Changes it; for a command that may not take as long as the others. */
void qmp_client_set_timeout(QmpClient *client, unsigned timeout_ms);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_free)
