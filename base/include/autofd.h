/* SPDX-License-Identifier: GPL-2.0-or-later */
/* autofd.h - a file descriptor that closes itself when its scope ends */
#pragma once

#include <errno.h>
#include <unistd.h>

#include <glib.h>

/* Closes *fd unless it is -1, sets it to -1, leaves errno alone. */
static inline void autofd_clear(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/* Gives the descriptor away: returns it and leaves -1 behind. */
static inline int autofd_steal(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define AUTOFD __attribute__((cleanup(autofd_clear)))
