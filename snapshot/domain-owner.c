/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-owner.h"

#include <string.h>

#define FIRST "fleecefs;"

char *domain_owner_export(const Owner *owner, const char *target)
{
	g_autofree char *note = owner_to_text(owner);

	return g_strdup_printf(FIRST "%s;disk=%s", note, target);
}

Owner *domain_owner_of(const VirtJob *job)
{
	const char *name = job->exports->len ? job->exports->pdata[0] : "";

	return g_str_has_prefix(name, FIRST) ?
		owner_from_text(name + strlen(FIRST)) : NULL;
}
