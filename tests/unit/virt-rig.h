/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-rig.h - one domain in libvirt's own driver for tests
 *
 * The driver is in the library: it needs no daemon and no QEMU, and takes,
 * checks and writes XML as every other does.  It has no backup jobs, and
 * every disk of it has VIRT_RIG_CAPACITY.
 */
#pragma once

#include <glib.h>

#include "virt-host.h"

#define VIRT_RIG_UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define VIRT_RIG_CAPACITY UINT64_C(1099506450432)

/* A domain that runs, with these elements outside and within <devices>. */
VirtHost *virt_rig_new(const char *outside, const char *devices);

/* From here on the domain is off. */
void virt_rig_shut_off(VirtHost *host);

/* A checkpoint of these disks, "vda vdb"; description NULL: it has none. */
void virt_rig_add_checkpoint(VirtHost *host, const char *name,
	const char *description, const char *disks);

/* A checkpoint's whole XML, to be freed with g_free(). */
char *virt_rig_checkpoint_xml(VirtHost *host, const char *name);
