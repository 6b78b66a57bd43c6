/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-session.h - an NbdExport and the peer that lies to it
 *
 * The peer is a thread of ours (nbd-peer.h): no real server breaks the
 * protocol.
 */
#pragma once

#include "nbd-export.h"
#include "nbd-peer.h"

#define SESSION_LENGTH 4096 /* of a read */
#define SESSION_PATIENT_MS 20000

typedef struct {
	NbdLoop *loop;
	NbdExport *export;
	GThread *peer;
	gint lost; /* how often it was said to be; atomic */

	GMutex lock;
	GCond ended;
	unsigned calls; /* of the end of the last read; lock */
	int error;      /* which that one was told; lock */
} Session;

/* Without a connection yet.  timeout_ms is for the handshake. */
void session_init(Session *session, unsigned timeout_ms,
	unsigned read_timeout_ms);
/* Ends it and waits for the peer. */
void session_clear(Session *session);

/* Two ends of a connection. */
void session_make_pair(int pair[2]);

/* A proper handshake with a peer that answers the first request so. */
void session_connect(Session *session, NbdPeerAnswer *answer);

/* Reads the first bytes, which have to be zeros if they come; returns the
 * error. */
int session_read(Session *session);

/* Of what breaks the protocol libnbd says EIO or EPROTO, as its version has
 * it; a negative one stands for any error. */
void session_assert_error(int error, int expected);
