/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-stream.h - QMP messages over a unix socket; private to this layer
 *
 * Every command carries a unique id and every other reply is dropped: a
 * command of a client that went away may be answered to us.  So are events.
 *
 * Deadlines and errors are those of qmp-socket.h; EPROTO for garbage.  After
 * an error it can only be freed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "qmp-json.h"

typedef struct QmpStream QmpStream;

/* Connects to the unix socket path. */
QmpStream *qmp_stream_connect(const char *path, int64_t deadline,
	GError **error);
void qmp_stream_free(QmpStream *stream);

/* The first message that is no event; the caller's. */
json_object *qmp_stream_greeting(QmpStream *stream, int64_t deadline,
	GError **error);

/* Sends message, to which it adds an id, with fd unless that is -1, and
 * returns the reply, which is the caller's. */
json_object *qmp_stream_converse(QmpStream *stream, json_object *message,
	int fd, int64_t deadline, GError **error);

/* Waits until QEMU says something, or for limit_ms. */
void qmp_stream_wait(QmpStream *stream, int limit_ms);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpStream, qmp_stream_free)
