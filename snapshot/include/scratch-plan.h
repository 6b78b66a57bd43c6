/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch-plan.h - who has to go when scratch runs short
 *
 * Pure: numbers in, a decision out.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a snapshot takes up. */
typedef struct {
	dev_t device;  /* the filesystem that its scratch is on */
	uint64_t used; /* bytes */
} ScratchUser;

/* A filesystem with scratch on it. */
typedef struct {
	dev_t device;
	uint64_t free;    /* bytes */
	uint64_t reserve; /* that have to stay free */
} ScratchSpace;

enum scratch_verdict {
	SCRATCH_FINE,
	SCRATCH_OVER_LIMIT,
	SCRATCH_IN_RESERVE,
};

/*
 * Whether one of the n users has to be given up because all of them together
 * have reached limit, or because a filesystem of theirs is in its reserve:
 * then *victim is the largest of those that it would help.
 */
enum scratch_verdict scratch_plan(const ScratchUser *users, size_t n,
	const ScratchSpace *spaces, size_t n_spaces, uint64_t limit,
	size_t *victim);
