/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * owner.h - the note in QEMU that says whose fleece this is
 *
 * An authz-simple object "fleecefs-owner" whose identity names a process.  It
 * is made before anything else, so QEMU itself refuses a second owner, and
 * removed after everything else.  A note whose process lives no more means
 * that what has our prefix in this QEMU is to be undone.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

#define OWNER_ID "fleecefs-owner"

/* In place of its socket: libvirt knows where the agent is. */
#define OWNER_LIBVIRT_AGENT "/libvirt"

/* What every node, export, job and fd of ours begins with. */
#define FLEECE_PREFIX "fl-"

/* What the target of a backup access begins with; the session follows. */
#define FLEECE_TARGET_PREFIX "fleecefs-"

typedef struct {
	char *boot;    /* /proc/sys/kernel/random/boot_id */
	char *state;   /* "setup", "frozen", "stopped", "live",
			* "teardown" */
	char *session; /* the fleece's short id */
	int pid;
	guint64 start; /* field 22 of /proc/PID/stat, clock ticks */
	bool server;   /* we started, or were about to start, the NBD server */
	unsigned fds;  /* sockets deposited, or about to be */
	char *agent;   /* of the guest that we froze, or were about to; NULL:
			* of none */
	char *machine; /* a hash of what does not change with a boot; NULL:
			* that is not known */
} Owner;

/* A short id that nobody else has. */
char *owner_new_session(void);

/* This process, with this session and state. */
Owner *owner_self(const char *session, const char *state);
void owner_free(Owner *owner);

/* The note as text and back; NULL for a text that is no such note. */
char *owner_to_text(const Owner *owner);
Owner *owner_from_text(const char *text);

/* Whether its process lives on this machine, under this boot. */
bool owner_is_alive(const Owner *owner);

/* Whether it was of this machine, under whichever boot: nobody else can tell
 * that it is dead. */
bool owner_is_ours(const Owner *owner);

/* The note in this QEMU; NULL without error where there is none.  EBADMSG for
 * one that nobody of us has written. */
Owner *owner_read(QmpClient *client, GError **error);

/* Puts the note in.  EBUSY where there is one already. */
bool owner_claim(QmpClient *client, const Owner *owner, GError **error);

/* Replaces our own note. */
bool owner_renew(QmpClient *client, const Owner *owner, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Owner, owner_free)
