/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-host.h - connections to a libvirt that come back
 *
 * Opened at need and, where libvirtd was restarted meanwhile, again.  Domains
 * and their jobs outlive them.
 *
 * Every function of this folder that takes a VirtHost blocks until libvirt
 * has answered, which may take 30 seconds where a job of somebody else's
 * keeps the domain.  Any thread may call.  A VirtHost must not be used on both
 * sides of a fork.
 *
 * Errors are FLEECE_ERRORs with libvirt's own words.  What the code says:
 *
 *   ENOENT     no such domain, checkpoint or backup job
 *   EBUSY      another job keeps the domain, libvirt waited for it in vain
 *   EUCLEAN    a checkpoint's bitmap is missing or broken
 *   EACCES     libvirt does not let us
 *   ETIMEDOUT  libvirt, QEMU or the guest agent did not answer, and may still
 *              do it
 *   ENOTCONN   nobody answers at the URI, or the connection broke
 *   EIO        anything else
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct VirtHost VirtHost;

/*
 * Called from a thread of libvirt's when something has happened to a domain
 * or to the connection: it says no more than that it is worth looking again.
 * Must return at once, and not call into libvirt.
 */
typedef void VirtNotify(void *opaque);

/*
 * A host that is not yet connected.  With notify, the thread for events
 * (virt-loop.h) runs from the first call on; the first host of a process has
 * to be such a one, if any is.
 */
VirtHost *virt_host_new(const char *uri, VirtNotify *notify, void *opaque);

/* Closes its connections; waits for a libvirtd that hangs two seconds. */
void virt_host_free(VirtHost *host);

/* Has notify called from here on, and again where the connection for that has
 * broken; that libvirtd hangs is noticed, too (20 seconds).  One thread at a
 * time. */
bool virt_host_listen(VirtHost *host, GError **error);

const char *virt_host_uri(const VirtHost *host);

/* How long a call may take; 30 seconds, if not set.
 * What takes longer ends with ETIMEDOUT. */
void virt_host_set_timeout(VirtHost *host, unsigned timeout_ms);
unsigned virt_host_timeout(const VirtHost *host);

/* The version of the QEMU that domains are started with there, major * 10000
 * + minor * 100 + micro; 0 where it is not known. */
unsigned virt_host_qemu_version(VirtHost *host);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtHost, virt_host_free)
