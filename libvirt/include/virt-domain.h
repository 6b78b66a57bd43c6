/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-domain.h - the domains of a host, and what can be done to one
 *
 * Conventions as in virt-host.h.  A domain is named by its UUID.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "virt-host.h"

typedef struct {
	char *uuid;
	char *name;
} VirtDomain;

/* The domains, whether they run or not; freed with the array. */
GPtrArray *virt_domains(VirtHost *host, GError **error);

/* Whether it has no QEMU. */
bool virt_domain_is_off(VirtHost *host, const char *uuid, bool *off,
	GError **error);

enum virt_state {
	VIRT_STATE_RUNS,
	VIRT_STATE_PAUSED,   /* by somebody */
	VIRT_STATE_IO_ERROR, /* by QEMU: a write of the guest's failed */
	VIRT_STATE_OTHER,    /* it is just being started, stopped or saved */
};

/* ENOENT also where the domain is off. */
bool virt_domain_state(VirtHost *host, const char *uuid,
	enum virt_state *state, GError **error);

/*
 * Stops its processors, or lets them go on; within timeout_ms, 0: that of the
 * host.  One that is stopped later than that goes on at once.
 */
bool virt_domain_suspend(VirtHost *host, const char *uuid,
	unsigned timeout_ms, GError **error);
bool virt_domain_resume(VirtHost *host, const char *uuid, unsigned timeout_ms,
	GError **error);

/* Waits until no job keeps it; EBUSY where one still does after timeout_ms. */
bool virt_domain_wait_idle(VirtHost *host, const char *uuid,
	unsigned timeout_ms, GError **error);

/* EBUSY where another has libvirt's lock of it, which libvirt has then waited
 * for in vain: almost any other call would wait as long. */
bool virt_domain_check_lock(VirtHost *host, const char *uuid, GError **error);

/* What it is like now, as XML; with secrets where libvirt lets us only if
 * asked. */
char *virt_domain_xml(VirtHost *host, const char *uuid, GError **error);

/* The number that it has as long as it runs; 0 where it does not. */
unsigned virt_domain_number(VirtHost *host, const char *uuid);

/* The virtual size of the disk that is called target, in bytes. */
bool virt_domain_capacity(VirtHost *host, const char *uuid,
	const char *target, uint64_t *size, GError **error);

/*
 * Freezes, or thaws, the guest's filesystems through its agent, which has
 * timeout_s seconds to answer.  *count becomes how many.  A freeze that was
 * not answered may happen all the same.
 */
bool virt_domain_freeze(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error);
bool virt_domain_thaw(VirtHost *host, const char *uuid, unsigned timeout_s,
	unsigned *count, GError **error);

/*
 * A line of text of ours that is kept with the domain while it runs, in its
 * XML; NULL takes it away.
 */
bool virt_domain_set_note(VirtHost *host, const char *uuid, const char *note,
	GError **error);

/* The note; NULL without error where there is none. */
char *virt_domain_get_note(VirtHost *host, const char *uuid, GError **error);
