/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image-starter.h - starts qemu-storage-daemons(1) for a process that may run
 * no program
 *
 * A process that is forked before ours is confined (confine.h).  It runs that
 * one program, for sockets that it is given, and does nothing else.  It ends
 * with us, and with it all that it has started, however we end.
 */
#pragma once

#include <glib.h>

typedef struct ImageStarter ImageStarter;

/* Forks it; by a process with one thread. */
ImageStarter *image_starter_new(GError **error);
void image_starter_free(ImageStarter *starter);

/*
 * Starts one that listens on the sockets qmp and nbd, which stay the caller's.
 * Returns a pidfd; -1, with ENOENT, where there is no such program.  Any
 * thread.
 */
int image_starter_run(const ImageStarter *starter, int qmp, int nbd,
	GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageStarter, image_starter_free)
