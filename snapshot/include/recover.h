/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover.h - what a dead fleecefs left in a QEMU, read from QEMU alone
 *
 * Needs no file of ours: the owner's note and the prefix of our names say
 * all.  Used before a set-up and by fleecectl(8), for the case in which the
 * daemon and its guardian both died.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "monitor.h"
#include "qmp-client.h"

/*
 * Makes sure that no fleece of anybody is in this QEMU, which client reaches
 * at monitor.  One whose owner is
 * dead is undone; a guest that the dead owner had stopped runs again, one
 * that it had frozen is thawed.  EBUSY where the owner lives; *teardown then
 * says that it is about to leave.
 */
bool recover(QmpClient *client, const Monitor *monitor, const char *vm,
	bool *teardown, GError **error);

/* The same, and whether the owner lives does not matter: for one that cannot
 * be seen from here, or hangs.  Its readers lose their view. */
bool recover_by_force(QmpClient *client, const Monitor *monitor,
	const char *vm, GError **error);
