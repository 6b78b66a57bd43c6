/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * undo.h - how everything that we make in a QEMU is taken away again
 *
 * Each thing registers its undo before it is made.  A failed set-up, a
 * release, an unmount, the guardian after a crash and recovery all run the
 * same list: backwards, going on after an error, content with what is gone
 * already.  Letting a stopped guest run comes before all else, thawing its
 * filesystems next.  Some kinds are for a QEMU whose monitor we have, the
 * others for a domain of libvirt's; a list has one sort alone.
 *
 * A list belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "monitor.h"
#include "qmp-client.h"

enum undo_kind {
	UNDO_OWNER,      /* remove the owner's note of session A */
	UNDO_DIRECTORY,  /* remove the private directory A and its socket */
	UNDO_FDSET,      /* remove-fd where the note begins with A */
	UNDO_NODE,       /* blockdev-del A */
	UNDO_FILTER,     /* put the child of filter A back under device B; C
			  * where the child cannot be asked */
	UNDO_JOB,        /* cancel job A */
	UNDO_SERVER,     /* nbd-server-stop, unless exports are left */
	UNDO_MONITOR_FD, /* closefd A */
	UNDO_EXPORT,     /* block-export-del A */
	UNDO_STOP,       /* cont */
	UNDO_BITMAP,     /* remove bitmap B of node A */
	UNDO_SCRATCH,    /* blockdev-del A, or the format node above where A is
			  * but the file, unless a bitmap of it is in use:
			  * QEMU would abort; it lies in directory B */
	UNDO_ACCESS,     /* tear the backup access for target A down */
	UNDO_THAW,       /* thaw the guest whose agent listens at A, or, with
			  * B, has libvirt A for its domain B */
	UNDO_FILE,       /* unlink the file A */
	/* of the libvirt domain with the UUID A: */
	UNDO_BACKUP,     /* abort its backup job, if that is of session B */
	UNDO_CHECKPOINT, /* delete checkpoint B of session C, if it is still
			  * pending */
	UNDO_SUSPEND,    /* resume it, if it is paused */
	UNDO_IO_ERROR,   /* resume it, if it is paused by a failed write */
	UNDO_FREEZE,     /* thaw it through libvirt */
	UNDO_NOTE,       /* take away the note of its owner */
};

typedef struct {
	unsigned id; /* unique in its list, grows */
	enum undo_kind kind;
	char *a, *b, *c; /* never NULL */
} Undo;

typedef struct UndoList UndoList;

/*
 * Told of every change before it counts, so that somebody else can keep the
 * same list.  added() may refuse; the others may not.
 */
typedef struct {
	bool (*added)(void *opaque, const Undo *undo, GError **error);
	void (*dropped)(void *opaque, unsigned id);
	void *opaque;
} UndoMirror;

/* vm is its name, for messages; mirror is copied, may be NULL. */
UndoList *undo_list_new(const char *vm, const UndoMirror *mirror);
void undo_list_free(UndoList *list);

/* Where its agent is; lives as long as the undo. */
Monitor undo_agent(const Undo *undo);

/* Registers an undo; NULL texts are taken as "".  *id, unless NULL, is for
 * undo_list_drop(). */
bool undo_list_add(UndoList *list, enum undo_kind kind, const char *a,
	const char *b, const char *c, unsigned *id, GError **error);

/* An UNDO_DIRECTORY for each place where the session's may be. */
void undo_list_add_directories(UndoList *list, const char *session);

/* Forgets the one with this id: what it was for is gone. */
void undo_list_drop(UndoList *list, unsigned id);

size_t undo_list_length(const UndoList *list);

/* Whether there is one of this kind in it. */
bool undo_list_has(const UndoList *list, enum undo_kind kind);

/*
 * Runs the thaws alone, which need no monitor: again and again until the
 * agents have answered or limit_ms have passed.
 */
bool undo_list_thaw(UndoList *list, unsigned limit_ms, GError **error);

/*
 * Waits until the filesystems answer that have scratch of the list on them;
 * ETIMEDOUT where one does not within limit_ms.  Blocks.
 */
bool undo_list_wait_scratch(UndoList *list, unsigned limit_ms, GError **error);

/* Whether there is a guest in it that was stopped or frozen: it is not kept
 * waiting for any scratch. */
bool undo_list_keeps_guest(const UndoList *list);

/*
 * Runs the list over client, newest first, dropping what is done.  Where the
 * note of the list's owner is gone, somebody has undone all this meanwhile:
 * the guest and the NBD server are left as they are then.  Where scratch does
 * not answer, a guest that was stopped or frozen is let go, and that is all:
 * ETIMEDOUT, for QEMU would stand still until it does.  Returns
 * false with the first error where something could not be undone and stays in
 * the list, or the connection failed.
 */
bool undo_list_run(UndoList *list, QmpClient *client, GError **error);

/*
 * Undoes one: false where it could not be.  *lost is set where the connection
 * is of no more use, so that nothing else needs to be tried.
 */
typedef bool UndoOne(void *opaque, const Undo *undo, bool *lost,
	GError **error);

/* Runs the list with one, as undo_list_run() does. */
bool undo_list_run_with(UndoList *list, UndoOne *one, void *opaque,
	GError **error);

/*
 * Connects to the monitor and runs the list; connects again where the
 * connection breaks, a few times, but not where QEMU stays silent.  No
 * monitor that is busy keeps a guest frozen.  A QEMU
 * that is gone (nobody listens) has nothing of ours: success, and the list is
 * empty.  Where no QMP is spoken, libvirt runs it (domain-undo.h).
 */
bool undo_list_run_at(UndoList *list, const Monitor *monitor,
	unsigned timeout_ms, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(UndoList, undo_list_free)
