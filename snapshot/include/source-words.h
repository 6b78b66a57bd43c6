/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source-words.h - which options go with which kind of source
 *
 * A VM's QEMU makes its snapshot, or libvirt has it made, or others have made
 * it and show it over NBD: what concerns the making goes with the first, and
 * some of it with the second, or, with via=monitor, nearly all.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "settings.h"

/*
 * Whether words, the options that were given for a VM, in a list that ends
 * with NULL, go with its source: uri is that of an NBD server or of a libvirt,
 * or NULL.
 * settings are those in force.  EINVAL says in one line which does not, and
 * why.
 */
bool source_words_check(const char *const *words, const char *uri,
	const Settings *settings, GError **error);

/* The same for the images of a VM that is switched off. */
bool source_words_check_images(const char *const *words, GError **error);
