/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-uri.h - which libvirt URIs can be a source; private, pure */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* EINVAL for what is none, ENOTSUP for one of another machine. */
bool domain_uri_check(const char *uri, GError **error);
