/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safe-name.h - names from outside (qdev ids, sockets, domains) as file names
 *
 * A name that is a plain file name stays as it is.  Else every byte that
 * could mislead ('/', control characters, '%', a leading '.' or '-', bytes
 * that are no UTF-8) becomes %XX; the names that the tree uses for itself
 * (".fleecefs", "vm.json") and the empty name are escaped too.  Names longer
 * than SAFE_NAME_MAX bytes are cut, so that every suffix fits NAME_MAX.
 */
#pragma once

#include <glib.h>

#define SAFE_NAME_MAX 200

/* What path is called, its last part without what follows the last dot of
 * that; not yet safe.  Free it with g_free(). */
char *safe_name_stem(const char *path);

/* Returns the file name for name; free it with g_free(). */
char *safe_name(const char *name);

/*
 * As safe_name(), and different from every key of taken (a set of strings
 * that owns them): the second of a kind gets "~2", the third "~3".  The
 * result is added to taken, which keeps owning it.
 */
const char *safe_name_unique(const char *name, GHashTable *taken);
