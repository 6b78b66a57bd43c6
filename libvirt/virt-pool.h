/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-pool.h - connections to a libvirt, each for one thread at a time
 *
 * Two threads in calls over one connection end the process, now and then, with
 * a libvirt before 10.4 ("rpc: ensure temporary GSource is removed from client
 * event loop", CVE-2024-4418; Debian 12 has 9.0).  So has one call and a
 * keepalive that is sent meanwhile: there is none.
 *
 * Any thread may call.  A VirtPool lives as long as anybody has a reference.
 */
#pragma once

#include "virt-connect.h"

typedef struct VirtPool VirtPool;

/* The host's, which belongs to it. */
VirtPool *virt_host_pool(VirtHost *host);

VirtPool *virt_pool_new(const char *uri);
VirtPool *virt_pool_ref(VirtPool *pool);
void virt_pool_unref(VirtPool *pool);

/* A connection that nobody else has; opened where none is at rest.  Blocks for
 * as long as libvirt does.  ENOTCONN where nobody answers. */
VirtConnection *virt_pool_take(VirtPool *pool, GError **error);

/* Gives it back. */
void virt_pool_give(VirtPool *pool, VirtConnection *connection);

/* Closes those at rest, and all others when they are given back.  May block,
 * as above. */
void virt_pool_close(VirtPool *pool);
