/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chain-rig.h"

#include <string.h>

#define VM "vm1"
#define OTHER_VM "vm2"

static void set_disk_word(ChainDisk *disk, const char *word)
{
	if (g_str_equal(word, "raw"))
		disk->keeps = false;
	else if (g_str_equal(word, "ro"))
		disk->read_only = true;
	else if (g_str_equal(word, "out"))
		disk->chosen = false;
	else
		g_error("no such word for a disk: %s", word);
}

/* What is in the name, then what QEMU tells beside it. */
static bool set_name_word(Checkpoint *checkpoint, const char *word)
{
	if (g_str_equal(word, "pending"))
		checkpoint->pending = true;
	else if (g_str_equal(word, "other"))
		checkpoint->chain = (char *)RIG_OTHER_CHAIN;
	else if (g_str_equal(word, "old-content"))
		checkpoint->content_ms = RIG_INSTANT(0);
	else if (g_str_equal(word, "resized"))
		checkpoint->size /= 2;
	else if (g_str_equal(word, "clone"))
		checkpoint_make_identity(OTHER_VM, "va", checkpoint->identity);
	else if (g_str_has_prefix(word, "of-"))
		checkpoint_make_identity(VM, word + 3, checkpoint->identity);
	else
		return false;
	return true;
}

static void set_bitmap_word(ChainBitmap *bitmap, const char *word)
{
	bool inconsistent = g_str_equal(word, "inconsistent");

	if (inconsistent || g_str_equal(word, "stopped"))
		bitmap->recording = false;
	else if (g_str_equal(word, "busy"))
		bitmap->busy = true;
	else if (g_str_equal(word, "lower"))
		bitmap->lower = true;
	else
		g_error("no such word for a checkpoint: %s", word);
	bitmap->inconsistent |= inconsistent;
}

static void add_bitmap(ChainDisk *disk, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, "/", -1);
	gint64 ms = RIG_INSTANT(g_ascii_strtoll(words[0], NULL, 10));
	Checkpoint checkpoint = { .chain = (char *)RIG_CHAIN, .instant_ms = ms,
		.content_ms = ms, .size = RIG_SIZE };
	bool lower = g_strv_contains((const char *const *)words, "lower");
	g_autofree char *name = NULL;
	ChainBitmap *bitmap;

	strcpy(checkpoint.identity, disk->identity);
	for (char **word = words + 1; *word; word++)
		set_name_word(&checkpoint, *word);
	name = checkpoint_to_name(&checkpoint);
	bitmap = chain_disk_add(disk, lower ? "below" : disk->node, name);
	g_assert_nonnull(bitmap);
	bitmap->recording = true;
	for (char **word = words + 1; *word; word++) {
		if (!set_name_word(&checkpoint, *word))
			set_bitmap_word(bitmap, *word);
	}
}

static ChainDisk *parse_disk(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, " ", -1);
	g_auto(GStrv) words = g_strsplit(parts[0], ",", -1);
	ChainDisk *disk = chain_disk_new(words[0], "top");

	disk->size = RIG_SIZE;
	disk->keeps = true;
	disk->chosen = true;
	checkpoint_make_identity(VM, disk->id, disk->identity);
	for (char **word = words + 1; *word; word++)
		set_disk_word(disk, *word);
	for (char **part = parts + 1; *part; part++)
		add_bitmap(disk, *part);
	return disk;
}

GPtrArray *rig_parse(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, " | ", -1);
	GPtrArray *disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)chain_disk_free);

	for (char **part = parts; *part; part++)
		g_ptr_array_add(disks, parse_disk(*part));
	return disks;
}

const ChainDisk *const *rig_disks(const GPtrArray *disks)
{
	return (const ChainDisk *const *)disks->pdata;
}

/* Often nothing, or else one of these words. */
static void add_word(GString *text, char before, const char *const *words,
	int n)
{
	int i = g_test_rand_int_range(-n, n);

	if (i >= 0)
		g_string_append_printf(text, "%c%s", before, words[i]);
}

static void add_random_bitmap(GString *text, int instant, const char *layer)
{
	static const char *const owners[] = { "clone", "of-va", "of-vb" };
	static const char *const kinds[] = { "pending", "other",
		"old-content", "resized" };
	static const char *const states[] = { "stopped", "inconsistent",
		"busy" };

	g_string_append_printf(text, " %d%s", instant, layer);
	if (g_test_rand_bit())
		add_word(text, '/', owners, G_N_ELEMENTS(owners));
	if (g_test_rand_bit())
		add_word(text, '/', kinds, G_N_ELEMENTS(kinds));
	if (g_test_rand_bit())
		add_word(text, '/', states, G_N_ELEMENTS(states));
}

char *rig_random(void)
{
	static const char *const words[] = { "raw", "ro", "out" };
	int disks = g_test_rand_int_range(1, 5);
	GString *text = g_string_new(NULL);

	for (int i = 0; i < disks; i++) {
		g_string_append_printf(text, "%sv%c", i ? " | " : "", 'a' + i);
		add_word(text, ',', words, G_N_ELEMENTS(words));
		for (int instant = 1; instant < 5; instant++) {
			if (g_test_rand_bit())
				add_random_bitmap(text, instant, "");
			if (g_test_rand_int_range(0, 4) == 0)
				add_random_bitmap(text, instant, "/lower");
		}
	}
	return g_string_free(text, FALSE);
}
