/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-remote.h - where the disks of a domain on another machine are shown
 *
 * At a TCP port of that machine, over TLS that proves who is who on both
 * sides.  libvirt wants to be told the port, and the address to listen at; but
 * only QEMU knows whether it can have them.  So there is a first choice, and a
 * next one for whoever was refused that.
 *
 * Private to this folder; one thread at a time.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "nbd-server.h"
#include "settings.h"

typedef struct DomainRemote DomainRemote;

/*
 * The first choice at host.  EINVAL where settings do not say how to know it
 * or what to be known by there; EHOSTUNREACH where it has no address.  Waits
 * for a name server.  settings outlive it.
 */
DomainRemote *domain_remote_new(const char *host, const Settings *settings,
	GError **error);
void domain_remote_free(DomainRemote *remote);

const char *domain_remote_address(const DomainRemote *remote);
unsigned domain_remote_port(const DomainRemote *remote);

/*
 * Makes the next choice after one that failed with *failure, what
 * virt_backup_begin() says.  False where that was for another reason, or
 * nothing is left: *failure then says what to do.
 */
bool domain_remote_move(DomainRemote *remote, GError **failure);

/* The server there; what it points to belongs to remote, until the next
 * choice. */
NbdServer domain_remote_server(const DomainRemote *remote);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainRemote, domain_remote_free)
