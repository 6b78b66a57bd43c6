/* SPDX-License-Identifier: GPL-2.0-or-later */
/* disk-view-read.h - what other ways of reading a disk are made of */
#pragma once

#include "disk-view.h"

/* Reads what is known to be zeros here: 0, or an errno as disk_view_read()
 * gives it. */
int disk_view_read_zeros(DiskView *view, void *buffer, size_t length,
	uint64_t offset);

/* The first byte at or behind offset that was not freed. */
uint64_t disk_view_next_kept(DiskView *view, uint64_t offset);
