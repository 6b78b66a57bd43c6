/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-conf.h"

#include <errno.h>
#include <string.h>

#include "disk-image.h"
#include "domain-host.h"
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
	GPtrArray *hosts;
} Conf;

/* What a group says of where its VMs are, but for what is in the VmConfig. */
typedef struct {
	SourcePlace *place;
	char *libvirt; /* NULL: not said */
} Group;

/* Whether text may be the name of a driver. */
static bool is_word(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789")] ==
		'\0';
}

/* Puts one key of a group into the VM's config; *error only where there is
 * more to say than that the setting is bad. */
static bool take_key(Group *group, const char *key, const char *value,
	GError **error)
{
	VmConfig *config = group->place->vm;

	if (!value[0])
		return false;
	if (g_str_equal(key, "qmp")) {
		g_free(config->qmp);
		config->qmp = g_canonicalize_filename(value, NULL);
	} else if (g_str_equal(key, "nbd")) {
		g_free(config->nbd);
		config->nbd = g_strdup(value);
	} else if (g_str_equal(key, "libvirt")) {
		g_free(group->libvirt);
		group->libvirt = g_strdup(value);
	} else if (g_str_equal(key, "domain")) {
		g_free(config->domain);
		config->domain = g_strdup(value);
	} else if (g_str_equal(key, "directory")) {
		g_free(group->place->directory);
		group->place->directory = g_canonicalize_filename(value, NULL);
	} else if (g_str_equal(key, "image")) {
		g_clear_pointer(&config->images, g_ptr_array_unref);
		config->images = disk_images_parse(value, error);
		return config->images;
	} else if (g_str_equal(key, "format")) {
		return is_word(value); /* set_format() */
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

static bool take_keys(const Conf *conf, Group *group, char **keys,
	GError **error)
{
	for (char **key = keys; *key; key++) {
		g_autoptr(GError) bad = NULL;
		g_autofree char *value = g_key_file_get_string(conf->file,
			group->place->group, *key, &bad);

		if (bad) { /* a bad escape comes with a value all the same */
			fleece_set_error(error, EINVAL, "%s", bad->message);
			return false;
		}
		if (take_key(group, *key, value, &bad))
			continue;
		fleece_set_error(error, EINVAL, "bad setting '%s=%s' (%s)",
			*key, value,
			bad ? bad->message : "see mount.fleecefs(8)");
		return false;
	}
	return true;
}

static bool refuse(const char *why, GError **error)
{
	fleece_set_error(error, EINVAL, "%s", why);
	return false;
}

static bool check_one_place(const Group *group, GError **error)
{
	const SourcePlace *place = group->place;
	const VmConfig *vm = place->vm;

	if (!!vm->qmp + !!vm->nbd + !!vm->images + !!group->libvirt +
		!!place->directory != 1)
		return refuse("it needs one of qmp=, directory=, libvirt=, "
			"nbd= and image=", error);
	if (vm->domain && !group->libvirt)
		return refuse("domain= needs libvirt=", error);
	if (place->directory && vm->settings->agent)
		return refuse("agent= is that of one VM, and a directory is "
			"none", error);
	if (!vm->name && strchr(place->group, '@'))
		return refuse("VMs that come and go are called NAME@GROUP: "
			"there can be no '@' in the name of their group",
			error);
	return true;
}

/* Whether what the group says, and the mount says for it, goes together. */
static bool check_words(const Group *group, char **keys, GError **error)
{
	const VmConfig *vm = group->place->vm;
	const Settings *settings = vm->settings;
	const char *const frees[] = { settings->discard ? "discard" :
		settings->read_once ? "read_once" : NULL, NULL };
	const char *const *words = (const char *const *)keys;
	const char *uri = group->libvirt ? group->libvirt : vm->nbd;

	if (vm->images)
		return source_words_check_images(words, error);
	if (!source_words_check(words, uri, settings, error))
		return false;
	if (vm->nbd)
		return source_nbd_check(vm->nbd, error);
	if (group->libvirt &&
		!source_words_check(frees, uri, settings, error))
		return false;
	return settings_check(settings, group->libvirt, error);
}

/* Several groups may be of one libvirt. */
static DomainHost *host_of(const Conf *conf, const char *uri, GError **error)
{
	DomainHost *host;

	for (guint i = 0; i < conf->hosts->len; i++) {
		host = conf->hosts->pdata[i];
		if (g_str_equal(virt_host_uri(domain_host_virt(host)), uri))
			return host;
	}
	host = domain_host_new(uri, error);
	if (host)
		g_ptr_array_add(conf->hosts, host);
	return host;
}

/* The domains of this libvirt that have groups of their own, also such as are
 * left out. */
static GPtrArray *named_domains(const Conf *conf, const char *uri)
{
	GPtrArray *named = g_ptr_array_new_with_free_func(g_free);
	g_auto(GStrv) groups = g_key_file_get_groups(conf->file, NULL);

	for (char **group = groups; *group; group++) {
		g_autofree char *libvirt = g_key_file_get_string(conf->file,
			*group, "libvirt", NULL);
		g_autofree char *domain = g_key_file_get_string(conf->file,
			*group, "domain", NULL);

		if (domain && g_strcmp0(libvirt, uri) == 0)
			g_ptr_array_add(named, g_steal_pointer(&domain));
	}
	return named;
}

/* A second snapshot of a domain would end the first. */
static bool check_own(const Conf *conf, const VmConfig *vm, GError **error)
{
	for (guint i = 0; i < conf->places->len; i++) {
		const SourcePlace *other = conf->places->pdata[i];

		if (other->vm->host != vm->host ||
		    g_strcmp0(other->vm->domain, vm->domain) != 0)
			continue;
		fleece_set_error(error, EINVAL,
			"group [%s] has what it names already", other->group);
		return false;
	}
	return true;
}

static bool take_libvirt(const Conf *conf, Group *group, GError **error)
{
	VmConfig *vm = group->place->vm;

	vm->host = host_of(conf, group->libvirt, error);
	if (!vm->domain)
		group->place->named = named_domains(conf, group->libvirt);
	return vm->host && check_own(conf, vm, error);
}

/* The images may come behind it. */
static void set_format(const Conf *conf, const SourcePlace *place)
{
	const GPtrArray *images = place->vm->images;

	for (guint i = 0; images && i < images->len; i++) {
		DiskImage *image = images->pdata[i];

		image->format = g_key_file_get_string(conf->file,
			place->group, "format", NULL);
	}
}

static bool fill_group(const Conf *conf, Group *group, GError **error)
{
	VmConfig *vm = group->place->vm;
	g_auto(GStrv) keys = g_key_file_get_keys(conf->file,
		group->place->group, NULL, error);

	if (!keys || !take_keys(conf, group, keys, error) ||
	    !check_one_place(group, error))
		return false;
	set_format(conf, group->place);
	if ((group->libvirt && !take_libvirt(conf, group, error)) ||
	    !check_words(group, keys, error))
		return false;
	if (vm->nbd || vm->images)
		settings_keep_for_nbd(vm->settings);
	return true;
}

static bool has_key(const Conf *conf, const char *group, const char *key)
{
	return g_key_file_has_key(conf->file, group, key, NULL);
}

static bool is_single(const Conf *conf, const char *group)
{
	return !has_key(conf, group, "directory") &&
		(!has_key(conf, group, "libvirt") ||
			has_key(conf, group, "domain"));
}

static bool take_group(const Conf *conf, const char *name, GError **error)
{
	g_autoptr(SourcePlace) place = NULL;
	Group group = { 0 };
	bool single = is_single(conf, name);
	bool good;

	if (single && !globs_match(conf->globs, name))
		return true;
	group.place = place = source_place_new(conf->settings);
	place->group = g_strdup(name);
	if (single)
		place->vm->name = g_strdup(safe_name_unique(name,
			conf->taken));
	good = fill_group(conf, &group, error);
	g_free(group.libvirt);
	if (good)
		g_ptr_array_add(conf->places, g_steal_pointer(&place));
	else
		g_prefix_error(error, "%s: group [%s]: ", conf->path, name);
	return good;
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
	const Settings *settings, GPtrArray *places, GPtrArray *hosts,
	GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	const Conf conf = { path, file, globs, settings, taken, places,
		hosts };
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
