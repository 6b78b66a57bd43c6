/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-limit.h - calls that nobody waits for for ever
 *
 * libvirt waits for a QEMU that hangs without a limit, and we for a libvirtd
 * that does.  So libvirt is called in a thread of its own, which is left alone
 * when the time is up: the call cannot be taken back, but what comes of it
 * can.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "virt-pool.h"

typedef struct {
	bool (*run)(gpointer data, GError **error);
	void (*late)(gpointer data);  /* it succeeded when nobody waited any
				       * more; may be NULL */
	void (*clear)(gpointer data); /* before data is freed */
} VirtWork;

/*
 * Runs work with data, a g_atomic_rc_box of which the caller keeps its
 * reference, to be released with work->clear.  ETIMEDOUT after timeout_ms.
 */
bool virt_limited(const VirtWork *work, gpointer data, unsigned timeout_ms,
	GError **error);

/* What an act has to do with: a connection of its own, and a domain. */
typedef struct {
	VirtConnection *connection;
	VirtDomainHandle *domain; /* NULL where no UUID was given */
	const char *a, *b;        /* the deed's */
	int file;                 /* a duplicate of the deed's; -1: none */
	gpointer answer;          /* NULL before; may be set */
} VirtCall;

typedef bool VirtAct(VirtCall *call, GError **error);

typedef struct {
	VirtAct *act;
	void (*late)(VirtCall *call); /* takes back what succeeded too late;
				       * may be NULL */
	const char *a, *b;
	unsigned timeout_ms; /* 0: the host's */
	const int *file;     /* a descriptor; NULL: none */
	GDestroyNotify free_answer; /* NULL: g_free() */
	void (*ended)(const char *uuid); /* nothing of it is under way any
					  * more; may be NULL */
} VirtDeed;

/* Does it to the domain with this UUID, or, with NULL, to the host.  *answer
 * is the act's, or NULL where it failed; answer may be NULL. */
bool virt_act(VirtHost *host, const char *uuid, const VirtDeed *deed,
	gpointer *answer, GError **error);
