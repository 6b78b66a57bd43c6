/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-chain.h"

#include <string.h>

#include "instant.h"

#define PENDING "fleecefs pending"
#define COMMITTED "fleecefs committed"

static void part_free(DomainPart *part)
{
	g_free(part->target);
	g_free(part);
}

DomainCheckpoint *domain_checkpoint_new(const char *chain, gint64 instant_ms)
{
	DomainCheckpoint *checkpoint = g_new0(DomainCheckpoint, 1);

	checkpoint->chain = g_strdup(chain);
	checkpoint->instant_ms = instant_ms;
	checkpoint->pending = true;
	checkpoint->disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)part_free);
	return checkpoint;
}

void domain_checkpoint_free(DomainCheckpoint *checkpoint)
{
	if (!checkpoint)
		return;
	g_free(checkpoint->name);
	g_free(checkpoint->chain);
	g_ptr_array_unref(checkpoint->disks);
	g_free(checkpoint);
}

void domain_checkpoint_add(DomainCheckpoint *checkpoint, const char *target,
	uint64_t size, gint64 content_ms)
{
	DomainPart *part = g_new0(DomainPart, 1);

	part->target = g_strdup(target);
	part->size = size;
	part->content_ms = content_ms;
	g_ptr_array_add(checkpoint->disks, part);
}

/* "vda=33554432" or "vda=33554432:20261120T234501123Z"; of an empty word
 * g_strsplit() makes no part at all. */
static bool take_part(DomainCheckpoint *checkpoint, const char *word)
{
	g_auto(GStrv) sides = g_strsplit(word, "=", 2);
	g_auto(GStrv) values = sides[0] && sides[1] ?
		g_strsplit(sides[1], ":", 2) : NULL;
	gint64 content_ms = checkpoint->instant_ms;
	guint64 size;

	if (!values || !sides[0][0] || !values[0] ||
	    !g_ascii_string_to_unsigned(values[0], 10, 0, G_MAXUINT64, &size,
		    NULL) ||
	    (values[1] && !instant_from_text(values[1], &content_ms)))
		return false;
	domain_checkpoint_add(checkpoint, sides[0], size, content_ms);
	return true;
}

static bool take_description(DomainCheckpoint *checkpoint, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, " ", -1);

	if (g_strv_length(words) < 2)
		return false;
	checkpoint->pending = g_str_equal(words[1], "pending");
	if (!g_str_equal(words[0], "fleecefs") ||
	    (!checkpoint->pending && !g_str_equal(words[1], "committed")))
		return false;
	for (char **word = words + 2; *word; word++) {
		if (!take_part(checkpoint, *word))
			return false;
	}
	return true;
}

DomainCheckpoint *domain_checkpoint_parse(const char *name,
	const char *description)
{
	g_autoptr(Checkpoint) names = checkpoint_from_name(name);
	g_autoptr(DomainCheckpoint) checkpoint = NULL;

	if (!names)
		return NULL;
	checkpoint = domain_checkpoint_new(names->chain, names->instant_ms);
	checkpoint->name = g_strdup(name);
	strcpy(checkpoint->identity, names->identity);
	return take_description(checkpoint, description) ?
		g_steal_pointer(&checkpoint) : NULL;
}

char *domain_checkpoint_name(const DomainCheckpoint *checkpoint,
	const char *uuid)
{
	Checkpoint names = {
		.chain = checkpoint->chain,
		.instant_ms = checkpoint->instant_ms,
		.content_ms = checkpoint->instant_ms,
	};

	checkpoint_make_identity(uuid, "", names.identity);
	for (guint i = 0; i < checkpoint->disks->len; i++) {
		const DomainPart *part = checkpoint->disks->pdata[i];

		names.size += part->size;
	}
	return checkpoint_to_name(&names);
}

char *domain_checkpoint_description(const DomainCheckpoint *checkpoint)
{
	GString *text = g_string_new(checkpoint->pending ? PENDING :
							   COMMITTED);

	for (guint i = 0; i < checkpoint->disks->len; i++) {
		const DomainPart *part = checkpoint->disks->pdata[i];
		g_autofree char *content = instant_to_text(part->content_ms);

		g_string_append_printf(text, " %s=%" G_GUINT64_FORMAT,
			part->target, part->size);
		if (!checkpoint->pending)
			g_string_append_printf(text, ":%s", content);
	}
	return g_string_free(text, FALSE);
}

static const DomainPart *part_of(const DomainCheckpoint *checkpoint,
	const char *target)
{
	for (guint i = 0; i < checkpoint->disks->len; i++) {
		const DomainPart *part = checkpoint->disks->pdata[i];

		if (g_str_equal(part->target, target))
			return part;
	}
	return NULL;
}

/* What another domain's checkpoint says is of that one's disk. */
static void add_part(ChainDisk *disk, const char *domain,
	const DomainCheckpoint *checkpoint)
{
	bool own = g_str_equal(checkpoint->identity, domain);
	const DomainPart *part = part_of(checkpoint, disk->id);
	g_autofree char *name = NULL;
	ChainBitmap *bitmap;
	Checkpoint names;

	if (!part)
		return;
	names = (Checkpoint){
		.chain = checkpoint->chain,
		.instant_ms = checkpoint->instant_ms,
		.size = part->size,
		.content_ms = part->content_ms,
		.pending = checkpoint->pending,
	};
	strcpy(names.identity, own ? disk->identity : checkpoint->identity);
	name = checkpoint_to_name(&names);
	bitmap = chain_disk_add(disk, disk->id, name);
	if (!bitmap)
		return;
	bitmap->recording = true;
	g_free(bitmap->name);
	bitmap->name = g_strdup(checkpoint->name);
}

ChainDisk *domain_chain_disk(const GPtrArray *checkpoints, const char *uuid,
	const char *target, uint64_t size)
{
	ChainDisk *disk = chain_disk_new(target, target);
	char domain[CHECKPOINT_IDENTITY_LENGTH + 1];

	checkpoint_make_identity(uuid, "", domain);
	checkpoint_make_identity(uuid, target, disk->identity);
	disk->size = size;
	for (guint i = 0; i < checkpoints->len; i++)
		add_part(disk, domain, checkpoints->pdata[i]);
	return disk;
}

static unsigned count_newer(const GPtrArray *checkpoints,
	const DomainCheckpoint *than)
{
	unsigned newer = 0;

	for (guint i = 0; i < checkpoints->len; i++) {
		const DomainCheckpoint *checkpoint = checkpoints->pdata[i];

		newer += g_str_equal(checkpoint->chain, than->chain) &&
			!checkpoint->pending &&
			checkpoint->instant_ms > than->instant_ms;
	}
	return newer;
}

GPtrArray *domain_chain_outdated(const GPtrArray *checkpoints,
	const char *chain, gint64 instant_ms, unsigned keep)
{
	GPtrArray *names = g_ptr_array_new();

	for (guint i = 0; i < checkpoints->len; i++) {
		const DomainCheckpoint *checkpoint = checkpoints->pdata[i];

		if (g_str_equal(checkpoint->chain, chain) &&
		    !checkpoint->pending &&
		    checkpoint->instant_ms < instant_ms &&
		    count_newer(checkpoints, checkpoint) >= keep)
			g_ptr_array_add(names, checkpoint->name);
	}
	return names;
}
