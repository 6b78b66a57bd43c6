/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-host.h - the domains of a libvirt, kept up to date
 *
 * Where fleecefs was built without libvirt, domain_host_new() says so, and
 * nothing else here is ever called.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "virt-host.h"

typedef struct DomainHost DomainHost;

typedef struct {
	char *name; /* libvirt's, unescaped */
	char *uuid;
} DomainName;

/* Whether spec is meant as the URI of a libvirt. */
bool domain_is_uri(const char *spec);

/* Whether that is one of another machine. */
bool domain_is_remote(const char *uri);

/*
 * Does not connect yet.  EINVAL for a URI that is none, ENOTSUP where there
 * is no libvirt in this program, or for one of another machine.
 */
DomainHost *domain_host_new(const char *uri, GError **error);
void domain_host_free(DomainHost *host);

/*
 * Looks at what needs to be looked at often; returns whether there is
 * anything.  May block.
 */
typedef bool DomainLook(DomainHost *host, void *opaque);

/*
 * Starts a thread that connects, and follows what comes and goes.  It calls
 * look once a second as long as that returns true, and whenever libvirt has
 * something to tell; a libvirt that is not there is tried again once a second.
 * Without this, domain_host_list() asks libvirt.
 */
void domain_host_start(DomainHost *host, DomainLook *look, void *opaque);

/* Waits until the first try has ended, and says how.  Blocks. */
bool domain_host_wait(DomainHost *host, GError **error);

/* Has the thread end, of several hosts' all at the same time. */
void domain_host_begin_stop(DomainHost *host);

/* Ends the thread: look is not called any more.  Blocks. */
void domain_host_stop(DomainHost *host);

/* There is something to look at.  Any thread. */
void domain_host_wake(DomainHost *host);

/*
 * The DomainNames of all, freed with the array.  Any thread.  Once
 * it was started it does not wait for libvirt: those that libvirt has named
 * last, or the reason why it never did.
 */
GPtrArray *domain_host_list(DomainHost *host, GError **error);

/* The connection behind it, which belongs to it. */
VirtHost *domain_host_virt(DomainHost *host);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainHost, domain_host_free)
