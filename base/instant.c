/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "instant.h"

#include <string.h>

/* How a text looks, '0' being any digit. */
static const char shape[] = "00000000T000000000Z";

gint64 instant_now(void)
{
	return g_get_real_time() / 1000;
}

char *instant_to_text(gint64 ms)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(ms / 1000);
	g_autofree char *seconds = g_date_time_format(time, "%Y%m%dT%H%M%S");

	return g_strdup_printf("%s%03dZ", seconds, (int)(ms % 1000));
}

static bool has_shape(const char *text)
{
	if (strlen(text) != strlen(shape))
		return false;
	for (size_t i = 0; shape[i]; i++) {
		if (shape[i] == '0' ? !g_ascii_isdigit(text[i]) :
				      text[i] != shape[i])
			return false;
	}
	return true;
}

static int number(const char *digits, int count)
{
	int value = 0;

	while (count-- > 0)
		value = 10 * value + *digits++ - '0';
	return value;
}

bool instant_from_text(const char *text, gint64 *ms)
{
	g_autoptr(GDateTime) time = NULL;

	if (!has_shape(text))
		return false;
	time = g_date_time_new_utc(number(text, 4), number(text + 4, 2),
		number(text + 6, 2), number(text + 9, 2),
		number(text + 11, 2), number(text + 13, 2));
	if (!time || g_date_time_get_year(time) < 1970)
		return false;
	*ms = g_date_time_to_unix(time) * 1000 + number(text + 15, 3);
	return true;
}
