/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics.h - what a monitoring system reads about snapshots
 *
 * In the text format that Prometheus defined ("Exposition formats", version
 * 0.0.4), and that others read, too.  The names are described in
 * mount.fleecefs(8).
 */
#pragma once

#include "vm-set.h"

/* .fleecefs/metrics: what is going on now; freed with g_free(). */
char *metrics_text(VmSet *set);
