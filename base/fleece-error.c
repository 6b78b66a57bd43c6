/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fleece-error.h"

#include <errno.h>
#include <stdbool.h>

#include <gio/gio.h>

G_DEFINE_QUARK(fleece-error-quark, fleece_error)

static void set_error(GError **error, int errnum, const char *format,
	va_list args, bool with_strerror) G_GNUC_PRINTF(3, 0);

static void set_error(GError **error, int errnum, const char *format,
	va_list args, bool with_strerror)
{
	g_autofree char *phrase = g_strdup_vprintf(format, args);

	if (with_strerror)
		g_set_error(error, FLEECE_ERROR, errnum, "%s: %s", phrase,
			g_strerror(errnum));
	else
		g_set_error_literal(error, FLEECE_ERROR, errnum, phrase);
}

void fleece_set_error(GError **error, int errnum, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_error(error, errnum, format, args, false);
	va_end(args);
}

void fleece_set_error_errno(GError **error, int errnum, const char *format,
	...)
{
	va_list args;

	va_start(args, format);
	set_error(error, errnum, format, args, true);
	va_end(args);
}

static int file_error_errno(int code)
{
	switch (code) {
	case G_FILE_ERROR_NOENT:
		return ENOENT;
	case G_FILE_ERROR_ACCES:
		return EACCES;
	case G_FILE_ERROR_PERM:
		return EPERM;
	case G_FILE_ERROR_NOTDIR:
		return ENOTDIR;
	case G_FILE_ERROR_ISDIR:
		return EISDIR;
	case G_FILE_ERROR_NOSPC:
		return ENOSPC;
	default:
		return EIO;
	}
}

int fleece_error_errno(const GError *error)
{
	if (!error)
		return EIO;
	if (error->domain == FLEECE_ERROR)
		return error->code > 0 ? error->code : EIO;
	if (error->domain == G_FILE_ERROR)
		return file_error_errno(error->code);
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
		return ETIMEDOUT;
	return EIO;
}
