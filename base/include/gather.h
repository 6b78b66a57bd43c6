/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gather.h - one completion for work that is done in parts
 *
 * Its maker holds one part while it begins the others, so that it cannot end
 * before all have begun.  Any thread may end a part; who ends the last one
 * calls done().
 */
#pragma once

#include <glib.h>

typedef struct Gather Gather;

/* Called once: 0, or the errno of the first part that failed. */
typedef void GatherDone(void *opaque, int error);

/* With one part, the maker's own. */
Gather *gather_new(GatherDone *done, void *opaque);

/* Another part is about to begin. */
void gather_add(Gather *gather);

/* A part has ended; opaque is the Gather.  Frees it with the last one. */
void gather_part_done(void *opaque, int error);
