/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ctl-source.h - what the subcommands that work without a mount work on */
#pragma once

#include <glib.h>

#include "source.h"

/* SOURCE as a mount takes it; via, or NULL, is as its option of that name, and
 * goes with the same sources. */
Source *ctl_source_open(const char *spec, const char *via, GError **error);
