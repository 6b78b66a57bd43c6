/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "checkpoint.h"

#include <string.h>

#include "instant.h"

#define PREFIX "fleecefs"
#define CHAIN_NAME_MAX 200

/* The parts of a name, between its dots. */
enum part {
	PART_PREFIX,
	PART_CHAIN,
	PART_INSTANT,
	PART_SIZE,
	PART_IDENTITY,
	PART_LAST, /* "pending" or the content's instant; may be missing */
};

bool checkpoint_is_chain_name(const char *name)
{
	size_t length = strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS
		"_-");

	return length > 0 && length <= CHAIN_NAME_MAX && !name[length];
}

void checkpoint_free(Checkpoint *checkpoint)
{
	if (!checkpoint)
		return;
	g_free(checkpoint->chain);
	g_free(checkpoint);
}

static bool is_identity(const char *text)
{
	return strlen(text) == CHECKPOINT_IDENTITY_LENGTH &&
		strspn(text, "0123456789abcdef") == CHECKPOINT_IDENTITY_LENGTH;
}

/* What may stand behind the identity. */
static bool take_last(Checkpoint *checkpoint, const char *part)
{
	checkpoint->content_ms = checkpoint->instant_ms;
	if (!part)
		return true;
	checkpoint->pending = g_str_equal(part, "pending");
	return checkpoint->pending ||
		(part[0] == 'c' &&
			instant_from_text(part + 1, &checkpoint->content_ms));
}

static bool take_parts(Checkpoint *checkpoint, char **parts)
{
	guint64 size;

	if (!g_str_equal(parts[PART_PREFIX], PREFIX) ||
	    !checkpoint_is_chain_name(parts[PART_CHAIN]) ||
	    !instant_from_text(parts[PART_INSTANT], &checkpoint->instant_ms) ||
	    parts[PART_SIZE][0] != 's' ||
	    !g_ascii_string_to_unsigned(parts[PART_SIZE] + 1, 10, 0,
		    G_MAXUINT64, &size, NULL) ||
	    parts[PART_IDENTITY][0] != 'd' ||
	    !is_identity(parts[PART_IDENTITY] + 1))
		return false;
	checkpoint->chain = g_strdup(parts[PART_CHAIN]);
	checkpoint->size = size;
	strcpy(checkpoint->identity, parts[PART_IDENTITY] + 1);
	return take_last(checkpoint, parts[PART_LAST]);
}

Checkpoint *checkpoint_from_name(const char *name)
{
	g_autoptr(Checkpoint) checkpoint = g_new0(Checkpoint, 1);
	g_auto(GStrv) parts = g_strsplit(name, ".", -1);
	g_autofree char *again = NULL;
	unsigned n = g_strv_length(parts);

	if (n < PART_LAST || n > PART_LAST + 1 ||
	    !take_parts(checkpoint, parts))
		return NULL;
	/* only what we would write ourselves: no leading zeros and the like */
	again = checkpoint_to_name(checkpoint);
	return g_str_equal(again, name) ? g_steal_pointer(&checkpoint) : NULL;
}

static void append_instant(GString *name, const char *before, gint64 ms)
{
	g_autofree char *text = instant_to_text(ms);

	g_string_append_printf(name, ".%s%s", before, text);
}

char *checkpoint_to_name(const Checkpoint *checkpoint)
{
	GString *name = g_string_new(PREFIX);

	g_string_append_printf(name, ".%s", checkpoint->chain);
	append_instant(name, "", checkpoint->instant_ms);
	g_string_append_printf(name, ".s%" G_GUINT64_FORMAT ".d%s",
		checkpoint->size, checkpoint->identity);
	if (checkpoint->pending)
		g_string_append(name, ".pending");
	else if (checkpoint->content_ms < checkpoint->instant_ms)
		append_instant(name, "c", checkpoint->content_ms);
	return g_string_free(name, FALSE);
}

void checkpoint_make_identity(const char *vm, const char *disk,
	char identity[CHECKPOINT_IDENTITY_LENGTH + 1])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

	/* with the NULs, so that no two pairs are one text */
	g_checksum_update(sum, (const guchar *)vm, strlen(vm) + 1);
	g_checksum_update(sum, (const guchar *)disk, strlen(disk) + 1);
	g_strlcpy(identity, g_checksum_get_string(sum),
		CHECKPOINT_IDENTITY_LENGTH + 1);
}
