/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-disk.h - the disks of a domain, and what else is of interest beside
 * them, from its XML
 *
 * Pure: the text goes in.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* A layer of an image below that of the disk. */
typedef struct {
	char *kind;
	char *format;
	char *path; /* NULL: neither a file nor a block device */
} VirtLayer;

typedef struct {
	char *target;    /* "vda": what libvirt calls it */
	char *alias;     /* "virtio-disk0": the id of its device in QEMU; NULL
			  * where it has none */
	char *device;    /* "disk", "lun", "cdrom", "floppy" */
	char *kind;      /* of its source: "file", "block", "network", ... */
	char *format;    /* "qcow2", "raw", ... */
	bool read_only;
	bool shareable;  /* others may write to it */
	bool has_medium;
	char *path;          /* of its source, where that is a file or a block
			      * device; else NULL */
	GPtrArray *backing;  /* VirtLayers that the XML says are below, the
			      * highest first */
	bool ends;           /* it says, too, that below these is none */
	const char *special; /* an element that says how the source has to be
			      * read, as "encryption", static; or NULL */
} VirtDisk;

typedef struct {
	GPtrArray *disks; /* VirtDisk, in the domain's order */
	bool iothreads;   /* it has any */
	bool agent;       /* a guest agent is connected */
	char *nvram;      /* the file of its firmware's variables; or NULL */
} VirtHardware;

/* EPROTO for what is no domain's XML. */
VirtHardware *virt_hardware_parse(const char *xml, GError **error);
void virt_hardware_free(VirtHardware *hardware);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtHardware, virt_hardware_free)
