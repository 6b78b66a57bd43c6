/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "human.h"

#include <glib.h>

char *human_size(uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB",
		"PiB", "EiB" };
	double number = bytes / 1024.0;
	unsigned unit = 0;

	if (bytes < 1024)
		return g_strdup_printf("%u B", (unsigned)bytes);
	/* what would be rounded to 1024 is 1.0 of the next unit */
	while (number >= 1023.5) {
		number /= 1024;
		unit++;
	}
	/* what would be rounded to 10.0 needs no decimal */
	return g_strdup_printf("%.*f %s", number < 9.95 ? 1 : 0, number,
		units[unit]);
}

static char *two(uint64_t large, char large_unit, uint64_t small,
	char small_unit)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT "%c%02u%c", large,
		large_unit, (unsigned)small, small_unit);
}

char *human_age(double seconds)
{
	uint64_t s = seconds > 0 && seconds < 1e15 ? seconds : 0;

	if (s < 60)
		return g_strdup_printf("%us", (unsigned)s);
	if (s < 60 * 60)
		return two(s / 60, 'm', s % 60, 's');
	if (s < 24 * 60 * 60)
		return two(s / 60 / 60, 'h', s / 60 % 60, 'm');
	return two(s / 60 / 60 / 24, 'd', s / 60 / 60 % 24, 'h');
}
