/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source-nbd.h - which NBD URIs can be a source; private, pure */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* EINVAL for what is none, and for a socket whose path is not absolute. */
bool source_nbd_check(const char *uri, GError **error);
