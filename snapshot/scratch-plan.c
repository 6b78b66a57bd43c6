/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch-plan.h"

#include <stdbool.h>

#include <glib.h>

/* The largest user, on device or, where that is NULL, anywhere. */
static bool find_largest(const ScratchUser *users, size_t n,
	const dev_t *device, size_t *largest)
{
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		if ((device && users[i].device != *device) || !users[i].used)
			continue;
		if (!found || users[i].used > users[*largest].used)
			*largest = i;
		found = true;
	}
	return found;
}

enum scratch_verdict scratch_plan(const ScratchUser *users, size_t n,
	const ScratchSpace *spaces, size_t n_spaces, uint64_t limit,
	size_t *victim)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += users[i].used;
	if (total >= limit && find_largest(users, n, NULL, victim))
		return SCRATCH_OVER_LIMIT;
	for (size_t i = 0; i < n_spaces; i++) {
		if (spaces[i].free < spaces[i].reserve &&
		    find_largest(users, n, &spaces[i].device, victim))
			return SCRATCH_IN_RESERVE;
	}
	return SCRATCH_FINE;
}
