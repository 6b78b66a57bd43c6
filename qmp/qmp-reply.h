/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-reply.h - taking replies apart; private to this layer
 *
 * Every value comes from outside.  A member that is missing or of another
 * type than asked for is FLEECE_ERROR with EPROTO, and the message names the
 * command and the member; so is a string with a NUL or no UTF-8 in it.
 * Members not asked for do not matter.  What is returned is borrowed from
 * the reply, unless said.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "qmp-json.h"

/* Whether value, called what in the message, has the type. */
bool qmp_reply_check(const char *command, json_object *value,
	const char *what, json_type type, GError **error);

/* A member that has to be there. */
json_object *qmp_reply_member(const char *command, json_object *from,
	const char *name, json_type type, GError **error);

/* A member that need not be there: *member is NULL then. */
bool qmp_reply_optional(const char *command, json_object *from,
	const char *name, json_type type, json_object **member,
	GError **error);

const char *qmp_reply_string(const char *command, json_object *from,
	const char *name, GError **error);

/* A copy of the string, to be freed with g_free(). */
bool qmp_reply_dup(const char *command, json_object *from, const char *name,
	char **copy, GError **error);

bool qmp_reply_bool(const char *command, json_object *from, const char *name,
	bool *value, GError **error);

/* An integer within 0 .. INT64_MAX. */
bool qmp_reply_size(const char *command, json_object *from, const char *name,
	uint64_t *value, GError **error);

/* Makes what a list of the caller holds from one element. */
typedef gpointer (*QmpParse)(const char *command, json_object *element,
	GError **error);

/* A list of what parse makes of the elements of array. */
GPtrArray *qmp_reply_list(const char *command, json_object *array,
	QmpParse parse, GDestroyNotify free_element, GError **error);

/*
 * What a whole reply returns; the caller's.  NULL with QMP_ERROR where QEMU
 * refused the command.
 */
json_object *qmp_reply_return(const char *command, json_object *reply,
	GError **error);
