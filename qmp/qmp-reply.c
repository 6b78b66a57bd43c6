/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-reply.h"

#include <errno.h>

#include "fleece-error.h"
#include "qmp-error.h"

static const char *type_phrase(json_type type)
{
	switch (type) {
	case json_type_boolean:
		return "a boolean";
	case json_type_int:
		return "an integer";
	case json_type_object:
		return "an object";
	case json_type_array:
		return "a list";
	case json_type_string:
		return "a string";
	default:
		return "what it should be";
	}
}

static bool is_text(json_object *string)
{
	return g_utf8_validate(json_object_get_string(string),
		json_object_get_string_len(string), NULL);
}

bool qmp_reply_check(const char *command, json_object *value,
	const char *what, json_type type, GError **error)
{
	if (!json_object_is_type(value, type)) {
		fleece_set_error(error, EPROTO,
			"%s: \"%s\" of the reply is not %s", command, what,
			type_phrase(type));
		return false;
	}
	if (type == json_type_string && !is_text(value)) {
		fleece_set_error(error, EPROTO,
			"%s: \"%s\" of the reply is no text", command, what);
		return false;
	}
	return true;
}

bool qmp_reply_optional(const char *command, json_object *from,
	const char *name, json_type type, json_object **member, GError **error)
{
	*member = NULL;
	if (!qmp_reply_check(command, from, "return", json_type_object, error))
		return false;
	if (!json_object_object_get_ex(from, name, member))
		return true;
	return qmp_reply_check(command, *member, name, type, error);
}

json_object *qmp_reply_member(const char *command, json_object *from,
	const char *name, json_type type, GError **error)
{
	json_object *member;

	if (!qmp_reply_optional(command, from, name, type, &member, error))
		return NULL;
	if (!member)
		fleece_set_error(error, EPROTO, "%s: the reply has no \"%s\"",
			command, name);
	return member;
}

const char *qmp_reply_string(const char *command, json_object *from,
	const char *name, GError **error)
{
	json_object *member = qmp_reply_member(command, from, name,
		json_type_string, error);

	return member ? json_object_get_string(member) : NULL;
}

bool qmp_reply_dup(const char *command, json_object *from, const char *name,
	char **copy, GError **error)
{
	*copy = g_strdup(qmp_reply_string(command, from, name, error));
	return *copy;
}

bool qmp_reply_bool(const char *command, json_object *from, const char *name,
	bool *value, GError **error)
{
	json_object *member = qmp_reply_member(command, from, name,
		json_type_boolean, error);

	*value = json_object_get_boolean(member);
	return member;
}

bool qmp_reply_size(const char *command, json_object *from, const char *name,
	uint64_t *value, GError **error)
{
	json_object *member = qmp_reply_member(command, from, name,
		json_type_int, error);

	if (!member)
		return false;
	/* get_int64 maps what is too large to the maximum; this does not. */
	*value = json_object_get_uint64(member);
	if (json_object_get_int64(member) >= 0 && *value <= INT64_MAX)
		return true;
	fleece_set_error(error, EPROTO,
		"%s: \"%s\" of the reply is out of range", command, name);
	return false;
}

GPtrArray *qmp_reply_list(const char *command, json_object *array,
	QmpParse parse, GDestroyNotify free_element, GError **error)
{
	g_autoptr(GPtrArray) list = NULL;

	if (!qmp_reply_check(command, array, "return", json_type_array, error))
		return NULL;
	list = g_ptr_array_new_with_free_func(free_element);
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		gpointer element = parse(command,
			json_object_array_get_idx(array, i), error);

		if (!element)
			return NULL;
		g_ptr_array_add(list, element);
	}
	return g_steal_pointer(&list);
}

/* The error that stands for a reply with "error" in it. */
static void set_refusal(const char *command, json_object *refusal,
	GError **error)
{
	const char *class_name = qmp_reply_string(command, refusal, "class",
		error);
	const char *desc = class_name ?
		qmp_reply_string(command, refusal, "desc", error) : NULL;

	if (desc)
		g_set_error(error, QMP_ERROR,
			(int)qmp_error_from_class(class_name), "%s: %s (%s)",
			command, desc, class_name);
}

json_object *qmp_reply_return(const char *command, json_object *reply,
	GError **error)
{
	json_object *refusal, *value;

	if (json_object_object_get_ex(reply, "error", &refusal)) {
		set_refusal(command, refusal, error);
		return NULL;
	}
	/* A null is a NULL here; no command returns one. */
	if (!json_object_object_get_ex(reply, "return", &value) || !value) {
		fleece_set_error(error, EPROTO,
			"%s: the reply is neither a return nor an error",
			command);
		return NULL;
	}
	return json_object_get(value);
}
