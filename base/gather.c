/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gather.h"

struct Gather {
	gint open;  /* atomic: parts that have not ended */
	gint error; /* atomic: of the first part that failed */
	GatherDone *done;
	void *opaque;
};

Gather *gather_new(GatherDone *done, void *opaque)
{
	Gather *gather = g_new(Gather, 1);

	*gather = (Gather){ 1, 0, done, opaque };
	return gather;
}

void gather_add(Gather *gather)
{
	g_atomic_int_inc(&gather->open);
}

void gather_part_done(void *opaque, int error)
{
	Gather *gather = opaque;

	if (error)
		g_atomic_int_compare_and_exchange(&gather->error, 0, error);
	if (!g_atomic_int_dec_and_test(&gather->open))
		return;
	gather->done(gather->opaque, g_atomic_int_get(&gather->error));
	g_free(gather);
}
