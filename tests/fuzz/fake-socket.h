/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake-socket.h - a peer that says the fuzzer's bytes, whatever it hears
 *
 * Takes the place of qmp/qmp-socket.c when a target is linked.  "%ID%" in
 * the bytes is the id of what was sent last.  At the end of the bytes the
 * peer closes, or is silent.
 */
#pragma once

#include "fuzz.h"

/* Begins anew; at most piece bytes come at once. */
void fake_socket_feed(FuzzInput in, size_t piece, bool silent);

/* Whether the last id that was sent has come back. */
bool fake_socket_answered(void);
