/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings.h - what a user can choose about snapshots
 *
 * One Settings for a mount, filled by whoever reads the options; a VM of a
 * .conf file may carry its own copy with a few values replaced.  Read-only
 * once the first snapshot is asked for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/* How the fleece is built; see mount.fleecefs(8). */
enum method {
	METHOD_AUTO,
	METHOD_FILTER, /* copy-before-write put under the device by qom-set */
	METHOD_JOB,    /* blockdev-backup sync=none, one transaction */
	METHOD_ACCESS, /* backup-access-setup, of Proxmox VE's QEMU */
};

/* Which files a disk has; see mount.fleecefs(8). */
enum view { VIEW_RAW, VIEW_DELTA, VIEW_ALL };

/* A number of bytes, or, where percent is not 0, a part of a whole. */
typedef struct {
	uint64_t bytes;
	unsigned percent;
} Amount;

/* Whether the guest's filesystems are frozen around the instant. */
enum freeze {
	FREEZE_NO,
	FREEZE_TRY,     /* where that fails, it is said and we go on */
	FREEZE_REQUIRE, /* where that fails, there is no snapshot */
};

/* How a domain of libvirt's that runs is snapshot. */
enum via {
	VIA_BACKUP,  /* by a backup job of libvirt's */
	VIA_MONITOR, /* by its QEMU, over the monitor that libvirt holds */
};

typedef struct {
	char *disks;      /* globs, ':' between; NULL: every disk */
	char *scratch;    /* directory with O_TMPFILE, absolute */
	Amount scratch_limit;   /* of what is free when the mount begins */
	Amount scratch_reserve; /* of the whole filesystem */
	enum method method;
	unsigned cbw_timeout;     /* seconds a guest write may wait */
	unsigned timeout_ms;      /* any QMP command, any NBD handshake */
	unsigned read_timeout_ms; /* any NBD request */
	unsigned connections;     /* NBD connections a disk, at least 1 */
	bool unsafe_qemu;
	bool discard;             /* punches are allowed */
	bool read_once;           /* what was read is freed */

	char *chain;        /* NULL: none; what follows needs one */
	gint64 since_ms;    /* instant of the base; 0: the newest there is */
	bool fallback_full; /* copy all where that is not there */
	unsigned keep;      /* checkpoints that a commit leaves; 0: one */
	enum view view;

	enum freeze freeze; /* needs an agent */
	char *agent;        /* the guest agent's socket, absolute; or NULL */

	enum via via;       /* for libvirt */

	/* For NBD servers that others run. */
	char *bitmap;           /* globs, ':' between; NULL: the only one */
	bool tls_required;      /* also where the URI does not ask for it */
	char *tls_certificates; /* a directory, absolute; or NULL */
	char *tls_psk;          /* a file, absolute; or NULL */
	bool server_safe;       /* it is no old QEMU that shows a fleece */

	/* Where a libvirt on another machine may show disks: TCP. */
	unsigned first_port, last_port;
} Settings;

/* The defaults of mount.fleecefs(8). */
Settings *settings_new(void);
Settings *settings_copy(const Settings *settings);
void settings_free(Settings *settings);

/*
 * Sets what a word of mount.fleecefs(8) stands for: "scratch",
 * "scratch_limit", "scratch_reserve", "method", "chain", "since", "fallback",
 * "keep", "view", "freeze", "agent", "via", "bitmap", "tls",
 * "tls_certificates", "tls_psk", "server", "ports".  Returns NULL, or what is
 * accepted as its value, static: "nothing" where there is no such word here.
 */
const char *settings_set(Settings *settings, const char *word,
	const char *value);

/* EINVAL where settings contradict each other, for a QEMU that makes the
 * snapshot; finds_agent: nobody has to say where the guest agent is. */
bool settings_check(const Settings *settings, bool finds_agent,
	GError **error);

/* Forgets what only concerns such a QEMU. */
void settings_keep_for_nbd(Settings *settings);

const char *method_to_text(enum method method);

/* Whether name matches one of globs (':' between them; NULL: all do). */
bool globs_match(const char *globs, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_free)
