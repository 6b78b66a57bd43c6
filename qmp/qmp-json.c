/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-json.h"

json_object *qmp_strings(const char *key, ...)
{
	json_object *object = json_object_new_object();
	va_list args;

	va_start(args, key);
	for (; key; key = va_arg(args, const char *))
		json_object_object_add(object, key,
			json_object_new_string(va_arg(args, const char *)));
	va_end(args);
	return object;
}

const char *qmp_json_text(json_object *object)
{
	return json_object_to_json_string_ext(object,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
