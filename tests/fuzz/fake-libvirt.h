/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake-libvirt.h - a libvirt that says what it is told to
 *
 * It takes the place of the functions of libvirt that read XML, when it is
 * linked.  Whatever is looked for is there: one domain, with one checkpoint
 * and one backup job.
 */
#pragma once

typedef struct {
	const char *checkpoint; /* its XML; the caller's */
	const char *job;        /* the same */
	char *redefined;        /* what a checkpoint is to be from now on,
				 * to be freed with g_free(); NULL: nothing */
} FakeLibvirt;

extern FakeLibvirt fake_libvirt;
