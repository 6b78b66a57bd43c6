/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guardian-message.h - what the daemon tells its guardian
 *
 * One message a packet on a SOCK_SEQPACKET socket, serialised as a GVariant:
 * both ends are the same program on the same machine.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

enum message_kind {
	MESSAGE_LIST,   /* a new list: A = VM, B and C = its Monitor,
			 * number = ms */
	MESSAGE_ADD,    /* number = id, undo = kind, A, B, C */
	MESSAGE_DROP,   /* number = id */
	MESSAGE_OPEN,   /* a window opens, until the undo with the id undo is
			 * dropped: number = ms, 0: it closes */
	MESSAGE_MOUNT,  /* A = mountpoint, number = its device, 0: it is
			 * just being mounted */
	MESSAGE_BYE,    /* the daemon ends in good order */
};

typedef struct {
	guint32 kind; /* enum message_kind */
	guint32 list; /* which list */
	guint32 number;
	guint32 undo; /* enum undo_kind, or an id */
	const char *a, *b, *c;
} Message;

/* Sends one; false with errno where the peer is gone, and EMSGSIZE where the
 * texts are longer than any path and name. */
bool message_send(int fd, const Message *message);

/*
 * Receives one.  Returns NULL at the end of the stream and for a packet that
 * is no message; else the GVariant that owns the texts in *message.
 */
GVariant *message_receive(int fd, Message *message);
