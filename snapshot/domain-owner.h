/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-owner.h - whose backup job it is
 *
 * libvirt notes no owner of a job, but it keeps the names of its exports as
 * long as it runs.  So the owner's note (owner.h) is in each of them.
 *
 * Private to this folder.
 */
#pragma once

#include "owner.h"
#include "virt-backup.h"

/* The name of the export of the disk target. */
char *domain_owner_export(const Owner *owner, const char *target);

/* Whose job it is; NULL where it is none of ours. */
Owner *domain_owner_of(const VirtJob *job);
