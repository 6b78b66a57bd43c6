/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commit.h - what a snapshot made pending becomes the chain's newest base */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "fleece.h"
#include "settings.h"

/*
 * Commits the fleece's checkpoint on all of its disks in one transaction and
 * deletes what is older than is to be kept; no write of the guest is lost in
 * between.  What is committed already stays so: it can be asked for again.
 * A disk that lost its bitmap meanwhile (it was unplugged, or an external
 * snapshot was taken) is left out, with a warning: it will be copied in full.
 */
bool commit(const Fleece *fleece, const char *vm, const Monitor *monitor,
	const Settings *settings, GError **error);
