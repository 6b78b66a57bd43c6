/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-wire.h - bytes in, QMP messages out; private to this layer
 *
 * A pure parser: no descriptor, no clock.  Bytes come in pieces cut anywhere.
 * A message is a JSON object; QEMU ends it with a newline, which is not
 * relied upon.  What is no JSON object, holds a NUL byte, is nested deeper
 * than QMP_WIRE_MAX_DEPTH or longer than QMP_WIRE_MAX_SIZE bytes breaks the
 * stream for good: FLEECE_ERROR with EPROTO, after the messages before it
 * were taken.
 */
#pragma once

#include <stdbool.h>

#include "qmp-json.h"

/* The longest reply that is asked for lists a VM's nodes: about 1 KB each. */
#define QMP_WIRE_MAX_SIZE (16u << 20)
#define QMP_WIRE_MAX_DEPTH 64

typedef struct QmpWire QmpWire;

QmpWire *qmp_wire_new(void);
void qmp_wire_free(QmpWire *wire);

/* Parses n bytes.  Errors come out of qmp_wire_pop(). */
void qmp_wire_push(QmpWire *wire, const char *bytes, size_t n);

/*
 * Takes the next message; *message is NULL where more bytes are needed, else
 * the caller's.  False, with error set, where the stream is broken.
 */
bool qmp_wire_pop(QmpWire *wire, json_object **message, GError **error);

/* No more bytes come.  False (EPROTO) where a message is cut off. */
bool qmp_wire_finish(const QmpWire *wire, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpWire, qmp_wire_free)
