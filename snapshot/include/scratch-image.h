/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scratch-image.h - where old blocks go in a job of libvirt's: a qcow2 image
 *
 * libvirt takes no other format, and would have QEMU create it with
 * blockdev-create.  That keeps the guest of an increment waiting, and can abort
 * QEMU 7.2 (HACKING, "What aborts or hangs QEMU").  Empty, an image is three
 * tables with hardly anything in them (docs/interop/qcow2.txt of QEMU's).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/*
 * Makes an empty image of a disk of size bytes at path, where nothing must be
 * (EEXIST), with mode 0600.  EFBIG beyond what QEMU opens.  On failure nothing
 * is left.
 */
bool scratch_image_make(const char *path, uint64_t size, GError **error);
