/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quirks.h - which QEMU can be trusted with what
 *
 * The one place that turns facts about a QEMU into what may be done with it.
 * Pure: facts in, plan out.  Each rule's reason stands beside it in
 * quirks.c.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "settings.h"

#define QEMU_VERSION(major, minor, micro) \
	((major) * 10000u + (minor) * 100u + (micro))

typedef struct {
	unsigned version;     /* QEMU_VERSION(...) */
	bool iothreads;       /* the VM has any */
	bool daemon;          /* a qemu-storage-daemon */
	bool access;          /* it has backup-access-setup; asked only where
			       * that is wanted */
} QemuFacts;

typedef struct {
	bool daemon;            /* there is no guest, and are no devices; no
				 * descriptor can be handed over: what QEMU is
				 * to open has a path */
	enum method method;     /* any but METHOD_AUTO */
	const char *reason;     /* why this one, static */
	unsigned max_in_flight; /* NBD requests at once per disk; 0: no limit */
	bool mixes_clusters;    /* a request of several clusters can show what
				 * the guest has written since */
	unsigned cbw_timeout;   /* seconds; 0: QEMU has no such limit here */
	bool build_in_pause;    /* nodes above a disk can only be added while
				 * the guest stands still */
	bool fixed_iothread;    /* the device must not take its nodes to another
				 * thread while clients are connected */
	bool hold_size;         /* nothing else keeps the disks from being made
				 * smaller, and it can be done */
	bool reserve_scratch;   /* a failing scratch write would fail the
				 * guest's: reserve all of it beforehand */
	const char *warnings[4]; /* static texts, NULL behind the last */
} QemuPlan;

/* What may be asked of an NBD server that others run, if it is not known to
 * be safe. */
typedef struct {
	unsigned max_in_flight; /* NBD requests at once per disk; 0: no limit */
	unsigned piece;         /* no request reaches over a multiple of it;
				 * 0: any may */
	bool holes;             /* what it calls a hole is one */
	unsigned cluster;       /* trims are multiples of it */
} ServerPlan;

void quirks_server_plan(bool safe, ServerPlan *plan);

/*
 * EOPNOTSUPP where this QEMU, or the method asked for on it, is refused;
 * settings->unsafe_qemu lets a refusal pass where the guest could at least
 * be served.
 */
bool quirks_plan(const QemuFacts *facts, const Settings *settings,
	QemuPlan *plan, GError **error);

/* The same for n disks that are written to, with METHOD_ACCESS; a warning
 * may go into the plan. */
bool quirks_access(const Settings *settings, QemuPlan *plan, unsigned n,
	GError **error);

/* The same for a disk with a FUSE export, of a storage daemon with that plan,
 * which gets a warning then. */
bool quirks_fuse(const Settings *settings, QemuPlan *plan, GError **error);
