/* SPDX-License-Identifier: GPL-2.0-or-later */
/* filesystem.h - what every operation of the mount can see; read-only */
#pragma once

#include <sys/types.h>
#include <time.h>

#include "options.h"
#include "vm-set.h"

/*
 * The files that are open.  The kernel does not always say that a file was
 * closed: at the end of a lazy unmount it may just go away.
 */
typedef struct {
	GMutex lock;
	GHashTable *set; /* FsFile, owned; lock */
} OpenFiles;

typedef struct {
	VmSet *set;
	const Options *options;
	struct timespec mounted; /* times of what belongs to no snapshot */
	OpenFiles *files;
	struct fuse_session *session;
	dev_t device; /* of the mount; 0 until it stands */
} Filesystem;
