/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * checkpoint.h - the name of a dirty bitmap that is a checkpoint
 *
 * A chain's whole state is in the names of QEMU's dirty bitmaps:
 *
 *   fleecefs.CHAIN.INSTANT.sSIZE.dIDENTITY              committed
 *   fleecefs.CHAIN.INSTANT.sSIZE.dIDENTITY.cCONTENT     the same, older content
 *   fleecefs.CHAIN.INSTANT.sSIZE.dIDENTITY.pending      not committed
 *
 * INSTANT and CONTENT as instant.h has them, SIZE in decimal bytes, IDENTITY
 * 16 hexadecimal digits.  Such a bitmap records every write since INSTANT, so
 * what is dirty in it is what differs from a copy of that instant.
 *
 * A name has at most 1023 bytes in QEMU (qemu/docs/interop/bitmaps.rst).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define CHECKPOINT_IDENTITY_LENGTH 16

typedef struct {
	char *chain;
	gint64 instant_ms;
	uint64_t size;      /* the disk's virtual size then, bytes */
	char identity[CHECKPOINT_IDENTITY_LENGTH + 1];
	gint64 content_ms;  /* since when the disk has been as it was at the
			     * instant; the instant itself, or older.  The
			     * name of a pending one does not have it */
	bool pending;
} Checkpoint;

/* The checkpoint of that name; NULL for every other bitmap's. */
Checkpoint *checkpoint_from_name(const char *name);
void checkpoint_free(Checkpoint *checkpoint);

/* Its name, to be freed with g_free(). */
char *checkpoint_to_name(const Checkpoint *checkpoint);

/*
 * Who the disk of that name in that VM (its uuid or name) is: another VM's
 * image, or one in another slot, has another identity.
 */
void checkpoint_make_identity(const char *vm, const char *disk,
	char identity[CHECKPOINT_IDENTITY_LENGTH + 1]);

/* Whether a chain can have this name: [A-Za-z0-9_-], 1 to 200 of them. */
bool checkpoint_is_chain_name(const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Checkpoint, checkpoint_free)
