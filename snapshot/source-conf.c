/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-conf.h"

#include <errno.h>

#include "disk-image.h"
#include "fleece-error.h"
#include "safe-name.h"
#include "source-nbd.h"
#include "source-place.h"
#include "source-words.h"

/* Thousands of VMs fit. */
#define CONF_MAX (1 << 20)

/* What is read, and what comes of it. */
typedef struct {
	const char *path;
	GKeyFile *file;
	const char *globs;
	const Settings *settings;
	GHashTable *taken; /* names */
	GPtrArray *places;
} Conf;

/* Whether text may be the name of a driver. */
static bool is_word(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789")] ==
		'\0';
}

/* Puts one key of a group into the VM's config; *error only where there is
 * more to say than that the setting is bad. */
static bool take_key(VmConfig *config, const char *key, const char *value,
	GError **error)
{
	if (!value[0])
		return false;
	if (g_str_equal(key, "qmp")) {
		g_free(config->qmp);
		config->qmp = g_canonicalize_filename(value, NULL);
	} else if (g_str_equal(key, "nbd")) {
		g_free(config->nbd);
		config->nbd = g_strdup(value);
	} else if (g_str_equal(key, "image")) {
		g_clear_pointer(&config->images, g_ptr_array_unref);
		config->images = disk_images_parse(value, error);
		return config->images;
	} else if (g_str_equal(key, "format") && is_word(value)) {
		g_free(config->format);
		config->format = g_strdup(value);
	} else if (g_str_equal(key, "disks")) {
		g_free(config->settings->disks);
		config->settings->disks = g_strdup(value);
	} else if (g_str_has_prefix(key, "scratch_")) {
		return false; /* they are for all VMs together */
	} else {
		return !settings_set(config->settings, key, value);
	}
	return true;
}

static bool take_keys(const Conf *conf, const char *group, char **keys,
	VmConfig *config, GError **error)
{
	for (char **key = keys; *key; key++) {
		g_autoptr(GError) bad = NULL;
		g_autofree char *value = g_key_file_get_string(conf->file,
			group, *key, &bad);

		if (bad) { /* a bad escape comes with a value all the same */
			fleece_set_error(error, EINVAL, "%s", bad->message);
			return false;
		}
		if (take_key(config, *key, value, &bad))
			continue;
		fleece_set_error(error, EINVAL, "bad setting '%s=%s' (%s)",
			*key, value,
			bad ? bad->message : "see mount.fleecefs(8)");
		return false;
	}
	return true;
}

/* Whether what a group says, and the mount says for it, goes together. */
static bool check_group(const VmConfig *config, char **keys, GError **error)
{
	if (config->images)
		return source_words_check_images((const char *const *)keys,
			error);
	if (!source_words_check((const char *const *)keys, config->nbd,
		    config->settings->tls_required, error))
		return false;
	return config->nbd ? source_nbd_check(config->nbd, error) :
			     settings_check(config->settings, false, error);
}

static bool fill_place(const Conf *conf, const char *group, SourcePlace *place,
	GError **error)
{
	VmConfig *config = place->vm;
	g_auto(GStrv) keys = g_key_file_get_keys(conf->file, group, NULL,
		error);

	if (!keys || !take_keys(conf, group, keys, config, error))
		return false;
	if (!!config->qmp + !!config->nbd + !!config->images != 1) {
		fleece_set_error(error, EINVAL, "it needs one of qmp=, nbd= "
			"and image=");
		return false;
	}
	if (!check_group(config, keys, error))
		return false;
	if (!config->qmp)
		settings_keep_for_nbd(config->settings);
	return true;
}

static bool take_group(const Conf *conf, const char *group, GError **error)
{
	g_autoptr(SourcePlace) place = NULL;

	if (!globs_match(conf->globs, group))
		return true;
	place = source_place_new(conf->settings);
	place->vm->name = g_strdup(safe_name_unique(group, conf->taken));
	if (!fill_place(conf, group, place, error)) {
		g_prefix_error(error, "%s: group [%s]: ", conf->path, group);
		return false;
	}
	g_ptr_array_add(conf->places, g_steal_pointer(&place));
	return true;
}

/* A disk image given by mistake is neither read nor shown in the message. */
static bool load(GKeyFile *file, const char *path, off_t size,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (size > CONF_MAX) {
		fleece_set_error(error, EINVAL,
			"%s: too large for a .conf file; is it a disk image?",
			path);
		return false;
	}
	if (g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &failure))
		return true;
	fleece_set_error(error, EINVAL, "%s: no .conf file: %.120s", path,
		failure->message);
	return false;
}

bool source_conf_read(const char *path, off_t size, const char *globs,
	const Settings *settings, GPtrArray *places, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	const Conf conf = { path, file, globs, settings, taken, places };
	g_auto(GStrv) groups = NULL;

	if (!load(file, path, size, error))
		return false;
	groups = g_key_file_get_groups(file, NULL);
	for (char **group = groups; *group; group++) {
		if (!take_group(&conf, *group, error))
			return false;
	}
	return true;
}
