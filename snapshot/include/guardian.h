/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guardian.h - the process that cleans up when we cannot
 *
 * Forked before anything is made in any QEMU, it keeps a copy of every undo
 * list and waits on a socket.  When the socket closes without a goodbye
 * (kill -9, out of memory, an assertion) it lets stopped guests run, thaws
 * frozen ones, undoes every list over QMP and detaches the mount.  When a
 * guest stands still, or is frozen, longer than was announced, it kills us
 * first.
 *
 * What is written to the socket reaches it even if we are killed right
 * afterwards: an undo counts as registered when its send(2) has returned.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "undo.h"

typedef struct Guardian Guardian;

/*
 * Forks the guardian.  Call it in a process with one thread, after the fork
 * into the background and before FUSE is mounted: the guardian closes every
 * other descriptor.  In the foreground it keeps stderr and logs there, else
 * to the system's log.  runs_programs: a way to a VM needs one, as ssh(1).
 */
Guardian *guardian_start(bool foreground, bool runs_programs, GError **error);

/*
 * Says goodbye: what is still in an undo list, because it could not be
 * undone, is tried again by the guardian; the mount is left alone.  Returns
 * without waiting.
 */
void guardian_free(Guardian *guardian);

/*
 * A new undo list for the VM vm, to be run at monitor, mirrored to the
 * guardian.  The Guardian must outlive it.  Any thread.
 */
UndoList *guardian_undo_list(Guardian *guardian, const char *vm,
	const Monitor *monitor, unsigned timeout_ms, GError **error);

/* Tells where the filesystem is about to be mounted: a dead one there is
 * detached after a crash. */
void guardian_announce_mountpoint(Guardian *guardian, const char *mountpoint);

/* Tells where the filesystem has been mounted, to be detached after a crash
 * if it is still this one that is mounted there. */
void guardian_set_mountpoint(Guardian *guardian, const char *mountpoint);

/*
 * Announces that the guest of list is about to stand still, or to be frozen,
 * for at most limit_ms: beyond it the guardian kills this process and undoes.
 * undo is the id of what ends it and has to be in the list: the window closes
 * when that is dropped, whoever let the guest go on.  Opening it again sets
 * another limit.
 */
bool guardian_window_open(Guardian *guardian, UndoList *list, unsigned undo,
	unsigned limit_ms, GError **error);

/* Closes it while the undo stays. */
void guardian_window_close(Guardian *guardian, UndoList *list, unsigned undo);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guardian, guardian_free)
