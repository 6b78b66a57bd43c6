/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-error.h - QEMU's own errors
 *
 * When QEMU answers a command with an error, the GError has this domain, the
 * code of QEMU's error class and the message "COMMAND: DESC (CLASS)" with
 * QEMU's words in it (docs/interop/qmp-spec.txt, section 2.4.2).  When there
 * is no answer (time out, garbage, connection gone) the domain is
 * FLEECE_ERROR with ETIMEDOUT, EPROTO or ECONNRESET.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark(void);

enum qmp_error {
	QMP_ERROR_GENERIC, /* GenericError and every class not named here */
	QMP_ERROR_COMMAND_NOT_FOUND,
	QMP_ERROR_DEVICE_NOT_ACTIVE,
	QMP_ERROR_DEVICE_NOT_FOUND,
};

/* The code for QEMU's class. */
enum qmp_error qmp_error_from_class(const char *class_name);

/* Whether QEMU answered and said no: the connection is still good. */
bool qmp_error_is_refusal(const GError *error);
