/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virt-connect.h - what the files of this folder share of libvirt's */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "virt-host.h"

typedef virConnect VirtConnection;
typedef virDomain VirtDomainHandle;

static inline void virt_connection_unref(VirtConnection *connection)
{
	virConnectClose(connection);
}

static inline void virt_domain_handle_free(VirtDomainHandle *domain)
{
	virDomainFree(domain);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtConnection, virt_connection_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtDomainHandle, virt_domain_handle_free)

/* Sets what libvirt said last in this thread, behind what, a phrase. Returns
 * false. */
bool virt_fail(GError **error, const char *what);

/*
 * Waits until no backup is just being begun (virt-backup.c).  To delete the
 * checkpoint that such a one makes crashes libvirtd, in 9.0 at least
 * (virDomainMomentDropParent()).
 */
bool virt_settle(VirtDomainHandle *domain, unsigned timeout_ms,
	GError **error);

/* The text, which libvirt allocated, as one for g_free(); NULL for NULL. */
char *virt_text_take(char *text);
