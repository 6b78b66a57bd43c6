/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status-json.h"

#include <errno.h>

#include "fleece-error.h"

static json_object *member(json_object *object, const char *key,
	json_type type)
{
	json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

json_object *status_parse(const char *text, GError **error)
{
	enum json_tokener_error problem;
	g_autoptr(json_object) status = json_tokener_parse_verbose(text,
		&problem);

	if (status_array(status, "vms"))
		return g_steal_pointer(&status);
	fleece_set_error(error, EPROTO, "the status is not as expected: %s",
		status ? "there is no \"vms\"" :
			 json_tokener_error_desc(problem));
	return NULL;
}

json_object *status_array(json_object *object, const char *key)
{
	return member(object, key, json_type_array);
}

json_object *status_find(json_object *array, const char *key,
	const char *name)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		json_object *entry = json_object_array_get_idx(array, i);

		if (g_strcmp0(status_text(entry, key), name) == 0)
			return entry;
	}
	return NULL;
}

const char *status_text(json_object *object, const char *key)
{
	json_object *value = member(object, key, json_type_string);

	return value ? json_object_get_string(value) : NULL;
}

bool status_number(json_object *object, const char *key, double *number)
{
	json_object *value = member(object, key, json_type_double);

	if (!value)
		value = member(object, key, json_type_int);
	if (value)
		*number = json_object_get_double(value);
	return value;
}

bool status_count(json_object *object, const char *key, uint64_t *count)
{
	json_object *value = member(object, key, json_type_int);

	if (value)
		*count = json_object_get_uint64(value);
	return value;
}

bool status_bool(json_object *object, const char *key, bool *value)
{
	json_object *found = member(object, key, json_type_boolean);

	if (found)
		*value = json_object_get_boolean(found);
	return found;
}
