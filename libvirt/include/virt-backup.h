/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-backup.h - a backup job of a domain, in pull mode
 *
 * The job makes the instant of all its disks and shows it over NBD, until it
 * is aborted.  A domain has one job at a time, and it belongs to the domain:
 * it outlives us, our connection and libvirtd.
 *
 * Conventions as in virt-host.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "virt-host.h"

typedef struct {
	const char *target;
	bool chosen;         /* it is in the backup */
	const char *base;    /* the checkpoint that .dirty is since; NULL: the
			      * disk is full */
	const char *export;  /* its name on the wire */
	const char *scratch; /* the path of a qcow2 image */
	bool recorded;       /* it is in the new checkpoint */
} VirtBackupDisk;

typedef struct {
	const char *socket;      /* a path that QEMU can make a socket at; NULL:
				  * it is shown over TCP, with TLS, */
	const char *address;     /* where QEMU is to listen there, */
	unsigned port;           /* and at which port */
	const char *bitmap;      /* what the exported bitmaps are called */
	const char *checkpoint;  /* that is made at the instant; NULL: none */
	const char *description; /* of it */
	const VirtBackupDisk *disks; /* all of the domain */
	unsigned n_disks;
	bool scratch_made;       /* the scratch is there, and empty; else
				  * libvirt makes and removes it */
	unsigned timeout_ms;     /* 0: the host's */
} VirtBackup;

/* Begins the job: on success, the disks are exported.  One that begins after
 * the time is aborted at once; its checkpoint stays.  EADDRINUSE,
 * EADDRNOTAVAIL where QEMU cannot listen there. */
bool virt_backup_begin(VirtHost *host, const char *uuid,
	const VirtBackup *backup, GError **error);

/* The job that runs. */
typedef struct {
	char *socket;       /* NULL: it is none */
	GPtrArray *exports; /* their names, in the order of the disks */
	GPtrArray *scratch; /* paths */
} VirtJob;

/* Waits until one that is being begun is settled.  ENOENT where none runs. */
VirtJob *virt_backup_job(VirtHost *host, const char *uuid, GError **error);
void virt_job_free(VirtJob *job);

/* How many bytes of scratch it takes by now; asks QEMU, which has a few
 * seconds for it.  ENOENT where libvirt does not say. */
bool virt_backup_scratch(VirtHost *host, const char *uuid, uint64_t *used,
	GError **error);

/*
 * Aborts whatever job the domain has, and waits until no backup runs any
 * more.  The caller has looked whose it is.
 */
bool virt_backup_abort(VirtHost *host, const char *uuid, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtJob, virt_job_free)
