/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status-json.h - what stands in the status of a mount
 *
 * A daemon of another version may leave members out and add others: what is
 * not there, or of another type, is NULL, false or the default.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* The object, to be put; the error says that text is no status. */
json_object *status_parse(const char *text, GError **error);

/* The member of array whose member key is name, or NULL; not to be put. */
json_object *status_find(json_object *array, const char *key,
	const char *name);

/* NULL where the member is no array; not to be put. */
json_object *status_array(json_object *object, const char *key);

/* NULL where the member is no string; lives as long as the object. */
const char *status_text(json_object *object, const char *key);

/* False where the member is no number. */
bool status_number(json_object *object, const char *key, double *number);
bool status_count(json_object *object, const char *key, uint64_t *count);

/* False where the member is no boolean; *value is then left alone. */
bool status_bool(json_object *object, const char *key, bool *value);
