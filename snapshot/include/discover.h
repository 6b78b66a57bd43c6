/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * discover.h - which disks a VM has
 *
 * A disk is what the guest sees as a block device: virtio-blk, scsi-hd,
 * ide-hd, nvme, usb-storage.  CD-ROMs, floppies, empty drives, pflash and
 * drives without a device are none.  Devices whose writes go past QEMU's
 * block layer (scsi-block, scsi-generic, share-rw=on) are refused by name
 * unless the choice of disks leaves them out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "qmp-client.h"
#include "qmp-query.h"
#include "quirks.h"
#include "settings.h"

typedef struct {
	char *name;     /* safe file name, unique in the VM, of the id or what
			 * that is called */
	char *id;       /* what QEMU and its user call it, unescaped */
	char *qdev;     /* QOM path of the device; NULL: it is none of one */
	char *type;     /* its QOM type: "virtio-blk-device"; NULL as well */
	char *drive;    /* what its block backend is called; "": it has no
			 * name, as with -blockdev; NULL: it is none */
	char *node;     /* node name of its root node */
	char *driver;   /* driver of that node */
	char *file;     /* its image as QEMU names it, or NULL */
	uint64_t size;  /* bytes */
	bool read_only; /* served as it is, nothing is put above it */
} Disk;

/* What QEMU and its user call the device of this entry, which has one.  Free
 * with g_free(). */
char *discover_id(const QmpBlock *block);

/*
 * The disks of the VM behind client that globs choose (NULL: all), in QEMU's
 * order; the array frees them.  ENOENT where none is left, EOPNOTSUPP for a
 * disk that must be refused.
 *
 * names, unless NULL, says how the disks with these ids are called instead: it
 * is what globs choose among, and each that is chosen has to be there.
 */
GPtrArray *discover_disks(QmpClient *client, const char *globs,
	GHashTable *names, GError **error);

/*
 * Those of a storage daemon, by name: what it exports (exported.h).  ENOENT
 * and EOPNOTSUPP as before; a warning goes into the plan.
 */
GPtrArray *discover_exported(QmpClient *client, const Settings *settings,
	QemuPlan *plan, GError **error);
