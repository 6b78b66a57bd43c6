/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qmp-json.h - json-c with the habits of GLib; private to this layer */
#pragma once

#include <glib.h>
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_tokener, json_tokener_free)

/* An object of strings: key, value, key, value, ... NULL. */
json_object *qmp_strings(const char *key, ...) G_GNUC_NULL_TERMINATED;

/* It as one line, which lives as long as nobody asks again. */
const char *qmp_json_text(json_object *object);
