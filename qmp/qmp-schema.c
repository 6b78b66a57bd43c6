/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What QEMU's commands take, from query-qmp-schema (QEMU's manual,
 * "Client JSON Protocol introspection").  The schema is a flat list of
 * entities; they refer to each other by name.
 */
#include "qmp-query.h"

#include "qmp-execute.h"
#include "qmp-reply.h"

#define COMMAND "query-qmp-schema"

/* The element of list whose member key is the string value; NULL: none. */
static json_object *find_by(json_object *list, const char *key,
	const char *value)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *element = json_object_array_get_idx(list, i);
		json_object *member;

		if (json_object_object_get_ex(element, key, &member) &&
			json_object_is_type(member, json_type_string) &&
			g_str_equal(json_object_get_string(member), value))
			return element;
	}
	return NULL;
}

static bool get_schema(QmpClient *client, json_object **schema, GError **error)
{
	*schema = qmp_client_schema(client, error);
	return *schema && qmp_reply_check(COMMAND, *schema, "return",
			json_type_array, error);
}

/* The entity of command's arguments; *type is NULL where it is unknown. */
static bool find_arguments(json_object *schema, const char *command,
	json_object **type, GError **error)
{
	json_object *entity = find_by(schema, "name", command);
	const char *name;

	*type = NULL;
	if (!entity)
		return true;
	name = qmp_reply_string(COMMAND, entity, "arg-type", error);
	if (name)
		*type = find_by(schema, "name", name);
	return name;
}

static bool has_member(json_object *type, const char *member, bool *has,
	GError **error)
{
	json_object *members;

	/* Only an object has members; others answer nobody's question. */
	if (!qmp_reply_optional(COMMAND, type, "members", json_type_array,
		    &members, error))
		return false;
	*has = members && find_by(members, "name", member);
	return true;
}

static bool queue_variants(GQueue *queue, json_object *schema,
	json_object *type, GError **error)
{
	json_object *variants;

	if (!qmp_reply_optional(COMMAND, type, "variants", json_type_array,
		    &variants, error))
		return false;
	for (size_t i = 0; variants && i < json_object_array_length(variants);
		i++) {
		json_object *variant = json_object_array_get_idx(variants, i);
		const char *name = qmp_reply_string(COMMAND, variant, "type",
			error);
		json_object *variant_type;

		if (!name)
			return false;
		variant_type = find_by(schema, "name", name);
		if (variant_type)
			g_queue_push_tail(queue, variant_type);
	}
	return true;
}

/* Whether type or a variant of it, at any depth, has the member. */
static bool has_member_deep(json_object *schema, json_object *type,
	const char *member, bool *has, GError **error)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	g_autoptr(GQueue) queue = g_queue_new();

	*has = false;
	g_queue_push_tail(queue, type);
	while (!*has && (type = g_queue_pop_head(queue))) {
		/* A list from outside may well run in circles. */
		if (!g_hash_table_add(seen, type))
			continue;
		if (!has_member(type, member, has, error) ||
			!queue_variants(queue, schema, type, error))
			return false;
	}
	return true;
}

bool qmp_schema_has_argument(QmpClient *client, const char *command,
	const char *arg, bool *has, GError **error)
{
	json_object *schema, *type;

	*has = false;
	if (!get_schema(client, &schema, error) ||
		!find_arguments(schema, command, &type, error))
		return false;
	return !type || has_member_deep(schema, type, arg, has, error);
}

/* *type is NULL where blockdev-add does not know the driver. */
static bool find_driver(json_object *schema, json_object *options,
	const char *driver, json_object **type, GError **error)
{
	json_object *variants = qmp_reply_member(COMMAND, options, "variants",
		json_type_array, error);
	json_object *variant;
	const char *name;

	*type = NULL;
	if (!variants)
		return false;
	variant = find_by(variants, "case", driver);
	if (!variant)
		return true;
	name = qmp_reply_string(COMMAND, variant, "type", error);
	if (name)
		*type = find_by(schema, "name", name);
	return name;
}

bool qmp_schema_has_driver_option(QmpClient *client, const char *driver,
	const char *option, bool *has, GError **error)
{
	json_object *schema, *options, *type;

	*has = false;
	if (!get_schema(client, &schema, error) ||
		!find_arguments(schema, "blockdev-add", &options, error))
		return false;
	if (!options)
		return true;
	if (!find_driver(schema, options, driver, &type, error))
		return false;
	/* What every driver takes is an option of a known driver, too. */
	if (!type)
		return true;
	if (!has_member(options, option, has, error))
		return false;
	return *has || has_member_deep(schema, type, option, has, error);
}
