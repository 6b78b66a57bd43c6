/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * instant.h - a point in time as text
 *
 * An instant is a number of milliseconds since 1970, UTC.  Its text is
 * "20261120T234501123Z": date, time of day, milliseconds.  All texts have the
 * same length, and sort as the instants do.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* The last one that has a text. */
#define INSTANT_MAX G_GINT64_CONSTANT(253402300799999)

/* The instant that it is now, by the system's clock. */
gint64 instant_now(void);

/* The text, to be freed with g_free(). ms is from 0 to INSTANT_MAX. */
char *instant_to_text(gint64 ms);

/* Sets *ms; false for everything but such a text of a real date. */
bool instant_from_text(const char *text, gint64 *ms);
