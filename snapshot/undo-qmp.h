/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * undo-qmp.h - takes one thing out of a QEMU whose monitor we have
 *
 * Private to this folder; domain-undo.c is the same for libvirt.
 */
#pragma once

#include "undo.h"

/* How long an agent is waited for in the midst of a list. */
#define UNDO_THAW_MS 5000

/* An UndoOne; opaque is the QmpClient.  What is gone already is no error. */
bool undo_qmp(void *opaque, const Undo *undo, bool *lost, GError **error);
