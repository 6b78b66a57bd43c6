/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-monitor.h - QMP over the monitor that libvirt holds
 *
 * libvirt must not be surprised by what it cannot put right: it gives up its
 * leases of the disks when a guest stops, and takes them again only where it
 * lets the guest go on itself.  So "stop" and "cont" are calls of libvirt's
 * own.
 */
#pragma once

#include "qmp-client.h"

/* For monitor_connect(). */
QmpClient *domain_monitor_connect(const char *uri, const char *uuid,
	unsigned timeout_ms, GError **error);
