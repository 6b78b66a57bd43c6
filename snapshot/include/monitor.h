/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor.h - where a VM is spoken to
 *
 * At a socket of its QEMU's own, or at the libvirt that runs it; which either
 * lends its QEMU's monitor (via=monitor), or is asked itself to do what there
 * is to do.  Texts are the caller's.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

typedef struct {
	const char *at;   /* path of the QMP socket, or URI of the libvirt */
	const char *uuid; /* with a URI: the domain whose monitor is lent;
			   * NULL: none is */
} Monitor;

/* Whether there is QMP to be spoken. */
bool monitor_speaks_qmp(const Monitor *monitor);

/*
 * Connects, as qmp_client_connect() does; over libvirt with a connection to
 * it of its own, ENOENT where the domain does not run.
 */
QmpClient *monitor_connect(const Monitor *monitor, unsigned timeout_ms,
	GError **error);
