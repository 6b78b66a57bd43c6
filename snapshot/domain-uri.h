/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-uri.h - which libvirt URIs can be a source; private, pure */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* EINVAL for what is none. */
bool domain_uri_check(const char *uri, GError **error);

/* The other machine that a good one names, an IPv6 address without brackets;
 * NULL: it is this one. */
char *domain_uri_host(const char *uri);
