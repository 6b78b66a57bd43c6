/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm-config.h - a VM that could be snapshot: where it is, and how */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "domain-host.h"
#include "monitor.h"
#include "settings.h"

typedef struct {
	char *name;         /* its directory's name: a safe file name */
	char *qmp;          /* absolute path of its QMP socket; or NULL, and */
	char *nbd;          /* the URI of a server that others have set up */
	DomainHost *host;   /* or the source's libvirt that runs it, */
	char *domain;       /* libvirt's name of it, */
	char *uuid;         /* and its UUID; NULL: it is not there now */
	GPtrArray *images;  /* or DiskImages of a VM that is switched off */
	Settings *settings; /* the mount's, with the group's own values */
} VmConfig;

/* Whether its domain is there, where it is one: ENOENT where it is not, or else
 * why its libvirt did not answer. */
bool vm_config_check(const VmConfig *config, GError **error);

/* Where it is spoken to, and its undo list is run; lives as long as config.
 * Its at is NULL where nothing is made in a QEMU. */
Monitor vm_config_monitor(const VmConfig *config);

VmConfig *vm_config_copy(const VmConfig *config);
void vm_config_free(VmConfig *config);

/* An array of them, which frees them. */
GPtrArray *vm_config_array(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmConfig, vm_config_free)
