/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch-watch.h - keeps scratch within its limits
 *
 * A thread that looks twice a second at what the snapshots of a VmSet take up,
 * with fstat(2) on our own descriptors and without asking QEMU, or, of another
 * machine, as far as it is known (vm_look()), and gives up the largest before
 * others suffer: the limit of the mount is reached, or the
 * filesystem is nearly full.  It also takes snapshots out of QEMU that broke
 * by themselves, so that the guest writes at its full speed again.
 * While no snapshot stands, it sleeps.
 */
#pragma once

#include <stdint.h>

#include <glib.h>

#include "settings.h"
#include "vm-set.h"

typedef struct ScratchWatch ScratchWatch;

/* settings and the set outlive it. */
ScratchWatch *scratch_watch_new(VmSet *set, const Settings *settings);

/* Ends the thread; what it has ordered may still be under way, and so may
 * those who call scratch_watch_wake(). */
void scratch_watch_stop(ScratchWatch *watch);

/* Of one that was stopped, or NULL. */
void scratch_watch_free(ScratchWatch *watch);

/* A snapshot has been taken.  Any thread. */
void scratch_watch_wake(ScratchWatch *watch);

/* Logs how much scratch the snapshots that stand can come to need, and how
 * much there may be; nothing where they need none. */
void scratch_watch_say(ScratchWatch *watch);

/*
 * How much scratch all snapshots on this machine may take, and how much of it
 * is left, in bytes: what the limit and the filesystem of scratch= allow.
 */
void scratch_watch_space(ScratchWatch *watch, uint64_t *total,
	uint64_t *left);
