/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-object.h - QEMU's object tree, and running or stopping the guest
 *
 * Conventions as in qmp-query.h.
 */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "qmp-client.h"

/*
 * The QOM type of the object at path ("virtio-blk-device", "scsi-hd").  path
 * may be a bare device id, as query-block gives it.  Free with g_free().
 */
char *qmp_qom_type(QmpClient *client, const char *path, GError **error);

/* A boolean property; *value is false where the object has no such one. */
bool qmp_qom_get_bool(QmpClient *client, const char *path,
	const char *property, bool *value, GError **error);

/* A string property.  Free with g_free(). */
char *qmp_qom_get_string(QmpClient *client, const char *path,
	const char *property, GError **error);

/*
 * Puts node under the guest device at path: its "drive" property.  Atomic for
 * this device, which is drained meanwhile (since QEMU 4.x on a realised
 * device).
 */
bool qmp_qom_set_drive(QmpClient *client, const char *path, const char *node,
	GError **error);

/* Whether the object path has a child or property name: qom-list. */
bool qmp_qom_has(QmpClient *client, const char *path, const char *name,
	bool *has, GError **error);

/* How many of the objects that a user has made ("/objects") are of the QOM
 * type; -1 on failure. */
int qmp_count_objects(QmpClient *client, const char *type, GError **error);

/*
 * object-add of an authz-simple object with the given id and identity: a
 * note that stands in QEMU until object-del.  QMP_ERROR_GENERIC where id is
 * taken.
 */
bool qmp_object_add_note(QmpClient *client, const char *id,
	const char *identity, GError **error);
/* Another identity for it, in one step. */
bool qmp_object_set_note(QmpClient *client, const char *id,
	const char *identity, GError **error);
bool qmp_object_del(QmpClient *client, const char *id, GError **error);

/* Pauses the guest: drains and flushes every disk first. */
bool qmp_stop(QmpClient *client, GError **error);
/* Lets the guest run. */
bool qmp_cont(QmpClient *client, GError **error);
