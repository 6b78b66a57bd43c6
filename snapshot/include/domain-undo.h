/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-undo.h - runs an undo list of a VM that libvirt runs
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "undo.h"
#include "virt-host.h"

/* As undo_list_run(); ENOTCONN where libvirt cannot be reached. */
bool domain_undo_run(UndoList *list, VirtHost *host, unsigned timeout_ms,
	GError **error);

/* As undo_list_run_at(), over a connection of its own to the libvirt at uri. */
bool domain_undo_run_at(UndoList *list, const char *uri, unsigned timeout_ms,
	GError **error);
