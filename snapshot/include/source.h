/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source.h - who are the VMs: what SOURCE on the command line means
 *
 *   a QMP unix socket   one VM, named as the file's stem
 *   a directory         one VM for each *.qmp socket in it, looked at anew
 *                       each time, so sockets may come and go
 *   a GKeyFile          for each group one VM (qmp=, nbd=, image=, or libvirt=
 *                       with domain=), or those of a directory= or of a
 *                       libvirt=; and settings
 *   an NBD URI          what one server exports, as one VM
 *   a libvirt URI       one VM for each domain, whether it runs or not
 *
 * A Source never changes: any thread may use it.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "domain-host.h"
#include "settings.h"
#include "vm-config.h"

typedef struct Source Source;

/*
 * spec as on the command line; relative paths are made absolute.  name, or
 * NULL, replaces the name of a single VM; globs, or NULL, choose VMs by name.
 * A .conf is read here, once: unknown keys and bad values are EINVAL.
 * ENOENT where there is no such thing, EINVAL where it is none of these.
 */
Source *source_new(const char *spec, const char *name, const char *globs,
	const Settings *settings, GError **error);
void source_free(Source *source);

/* The absolute form of what source_new() got. */
const char *source_spec(const Source *source);

/* Whether it may have VMs that need scratch space on this machine. */
bool source_needs_scratch(const Source *source);

/* Whether it may have VMs that are switched off and can be read. */
bool source_may_be_off(const Source *source);

/* Whether programs are run to get to its VMs, as ssh(1). */
bool source_runs_programs(const Source *source);

/* Whether it is a .conf. */
bool source_has_groups(const Source *source);

/* The DomainHosts behind it.  They belong to it. */
const GPtrArray *source_hosts(const Source *source);

/* Whether spec is meant as the URI of an NBD server. */
bool source_is_nbd(const char *spec);

/*
 * The VMs there are now: VmConfigs, sorted by name, freed with the array.  A
 * group that cannot be looked at, or all of a SOURCE without groups, is left
 * out, and why, a GError, is added to failures.
 */
GPtrArray *source_list(const Source *source, GPtrArray *failures);

/* An empty array for these, which frees them. */
GPtrArray *source_failures_new(void);

/* Whether there is any, and the first. */
bool source_failed(const GPtrArray *failures, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Source, source_free)
