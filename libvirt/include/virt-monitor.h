/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-monitor.h - the monitor of a domain, which libvirt holds
 *
 * What is said there is said behind libvirt's back: it taints the domain
 * ("custom-monitor").
 *
 * Conventions as in virt-host.h.
 */
#pragma once

#include <glib.h>

#include "virt-host.h"

/*
 * Has QEMU carry out the QMP message, which has no id, with the descriptor
 * file, unless that is -1.  Returns what QEMU answered, whatever that is.
 *
 * A domain gets one message of this process at a time.  One that was not
 * answered within its timeout_ms may still be carried out; the next waits for
 * its end, so that nothing overtakes it.
 *
 * ETIMEDOUT also where another job keeps the domain; ENOTSUP where this
 * program's libvirt is older than 8.2.
 */
char *virt_monitor_run(VirtHost *host, const char *uuid, const char *message,
	int file, unsigned timeout_ms, GError **error);
