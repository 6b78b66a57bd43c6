/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "disk-image.h"
#include "fleece-error.h"
#include "safe-name.h"
#include "source-words.h"

#define SOCKET_SUFFIX ".qmp"
/* Thousands of VMs fit. */
#define CONF_MAX (1 << 20)
#define NBD_NAME "nbd"

enum source_kind {
	SOURCE_SOCKET,
	SOURCE_DIRECTORY,
	SOURCE_CONF,
	SOURCE_NBD,
	SOURCE_LIBVIRT,
};

struct Source {
	enum source_kind kind;
	char *spec;
	char *globs;
	Settings *settings;
	GPtrArray *fixed; /* VmConfigs; NULL where they come and go */
	GPtrArray *hosts; /* DomainHosts */
};

void vm_config_free(VmConfig *config)
{
	if (!config)
		return;
	g_free(config->name);
	g_free(config->qmp);
	g_free(config->nbd);
	g_free(config->domain);
	g_free(config->uuid);
	g_clear_pointer(&config->images, g_ptr_array_unref);
	g_free(config->format);
	settings_free(config->settings);
	g_free(config);
}

VmConfig *vm_config_copy(const VmConfig *config)
{
	VmConfig *copy = g_new0(VmConfig, 1);

	copy->name = g_strdup(config->name);
	copy->qmp = g_strdup(config->qmp);
	copy->nbd = g_strdup(config->nbd);
	copy->host = config->host;
	copy->domain = g_strdup(config->domain);
	copy->uuid = g_strdup(config->uuid);
	copy->images = config->images ? g_ptr_array_ref(config->images) : NULL;
	copy->format = g_strdup(config->format);
	copy->settings = settings_copy(config->settings);
	return copy;
}

static GPtrArray *config_array(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)vm_config_free);
}

/* Adds a VM unless the globs leave it out. */
static VmConfig *add_vm(const Source *source, GPtrArray *vms,
	GHashTable *taken, const char *name, const char *qmp)
{
	VmConfig *config;

	if (!globs_match(source->globs, name))
		return NULL;
	config = g_new0(VmConfig, 1);
	config->name = g_strdup(safe_name_unique(name, taken));
	config->qmp = g_strdup(qmp);
	config->settings = settings_copy(source->settings);
	g_ptr_array_add(vms, config);
	return config;
}

static char *stem(const char *path)
{
	char *name = g_path_get_basename(path);
	char *dot = strrchr(name, '.');

	if (dot && dot != name)
		*dot = '\0';
	return name;
}

static void list_socket(Source *source, const char *name)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	g_autofree char *own = name ? g_strdup(name) : stem(source->spec);

	source->fixed = config_array();
	add_vm(source, source->fixed, taken, own, source->spec);
}

bool source_is_nbd(const char *spec)
{
	static const char *const schemes[] = { "nbd", "nbds", "nbd+unix",
		"nbds+unix", NULL };
	g_autofree char *scheme = g_uri_parse_scheme(spec);

	return scheme && strstr(spec, "://") &&
		g_strv_contains(schemes, scheme);
}

/* libnbd looks at the rest; a daemon is not where it was started. */
static bool check_uri(const char *uri, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(GHashTable) query = NULL;
	g_autofree char *text = NULL;
	const char *socket;

	if (!source_is_nbd(uri)) {
		fleece_set_error(error, EINVAL, "%s: no NBD URI, as "
			"nbd+unix:///EXPORT?socket=PATH or "
			"nbd://HOST:PORT/EXPORT", uri);
		return false;
	}
	if (g_uri_split(uri, G_URI_FLAGS_ENCODED, NULL, NULL, NULL, NULL, NULL,
		    &text, NULL, &failure))
		query = g_uri_parse_params(text ? text : "", -1, "&;",
			G_URI_PARAMS_NONE, &failure);
	if (!query) {
		fleece_set_error(error, EINVAL, "%s: %s", uri,
			failure->message);
		return false;
	}
	socket = g_hash_table_lookup(query, "socket");
	if (!socket || g_path_is_absolute(socket))
		return true;
	fleece_set_error(error, EINVAL, "%s: socket= must be an absolute path",
		uri);
	return false;
}

static bool list_nbd(Source *source, const char *name, GError **error)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	VmConfig *config;

	if (!check_uri(source->spec, error))
		return false;
	source->fixed = config_array();
	config = add_vm(source, source->fixed, taken, name ? name : NBD_NAME,
		NULL);
	if (!config)
		return true;
	config->nbd = g_strdup(source->spec);
	settings_keep_for_nbd(config->settings);
	return true;
}

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of the *.qmp sockets, sorted: escaping may not depend on the
 * order in which a directory happens to be read. */
static GPtrArray *socket_files(const char *path, GError **error)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, error);
	GPtrArray *files;
	const char *file;

	if (!dir)
		return NULL;
	files = g_ptr_array_new_with_free_func(g_free);
	while ((file = g_dir_read_name(dir))) {
		g_autofree char *full = g_build_filename(path, file, NULL);

		if (g_str_has_suffix(file, SOCKET_SUFFIX) && is_socket(full))
			g_ptr_array_add(files, g_steal_pointer(&full));
	}
	g_ptr_array_sort(files, compare_names);
	return files;
}

static GPtrArray *list_directory(const Source *source, GError **error)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) files = socket_files(source->spec, error);
	GPtrArray *vms;

	if (!files)
		return NULL;
	vms = config_array();
	for (guint i = 0; i < files->len; i++) {
		g_autofree char *name = stem(files->pdata[i]);

		add_vm(source, vms, taken, name, files->pdata[i]);
	}
	return vms;
}

static int compare_domains(gconstpointer a, gconstpointer b)
{
	return strcmp((*(DomainName *const *)a)->name,
		(*(DomainName *const *)b)->name);
}

/* Those that run now; sorted, as in list_directory(). */
static GPtrArray *list_domains(const Source *source, GError **error)
{
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	DomainHost *host = source->hosts->pdata[0];
	g_autoptr(GPtrArray) names = domain_host_list(host, error);
	GPtrArray *vms;

	if (!names)
		return NULL;
	g_ptr_array_sort(names, compare_domains);
	vms = config_array();
	for (guint i = 0; i < names->len; i++) {
		const DomainName *name = names->pdata[i];
		VmConfig *config = add_vm(source, vms, taken, name->name,
			NULL);

		if (!config)
			continue;
		config->host = host;
		config->domain = g_strdup(name->name);
		config->uuid = g_strdup(name->uuid);
	}
	return vms;
}

/* Whether text may be the name of a driver. */
static bool is_word(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789")] ==
		'\0';
}

/* Puts one key of a group into the VM's config; *error only where there is
 * more to say than that the setting is bad. */
static bool conf_key(VmConfig *config, const char *key, const char *value,
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

static bool conf_keys(const Source *source, GKeyFile *file, const char *group,
	char **keys, VmConfig *config, GError **error)
{
	for (char **key = keys; *key; key++) {
		g_autoptr(GError) bad = NULL;
		g_autofree char *value = g_key_file_get_string(file, group,
			*key, &bad);

		if (bad) { /* a bad escape comes with a value all the same */
			fleece_set_error(error, EINVAL, "%s: group [%s]: %s",
				source->spec, group, bad->message);
			return false;
		}
		if (conf_key(config, *key, value, &bad))
			continue;
		fleece_set_error(error, EINVAL,
			"%s: group [%s]: bad setting '%s=%s' (%s)",
			source->spec, group, *key, value,
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
	return config->nbd ? check_uri(config->nbd, error) :
			     settings_check(config->settings, false, error);
}

static bool conf_group(Source *source, GKeyFile *file, const char *group,
	GHashTable *taken, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, error);
	VmConfig *config = keys ? add_vm(source, source->fixed, taken, group,
		NULL) : NULL;

	if (!config)
		return keys;
	if (!conf_keys(source, file, group, keys, config, error))
		return false;
	if (!!config->qmp + !!config->nbd + !!config->images != 1) {
		fleece_set_error(error, EINVAL, "%s: group [%s] needs one of "
			"qmp=, nbd= and image=", source->spec, group);
		return false;
	}
	if (!check_group(config, keys, error)) {
		g_prefix_error(error, "%s: group [%s]: ", source->spec, group);
		return false;
	}
	if (!config->qmp)
		settings_keep_for_nbd(config->settings);
	return true;
}

/* A disk image given by mistake is neither read nor shown in the message. */
static bool load_conf(GKeyFile *file, const char *path, off_t size,
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

static bool list_conf(Source *source, off_t size, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash,
		g_str_equal, g_free, NULL);
	g_auto(GStrv) groups = NULL;

	if (!load_conf(file, source->spec, size, error))
		return false;
	source->fixed = config_array();
	groups = g_key_file_get_groups(file, NULL);
	for (char **group = groups; *group; group++) {
		if (!conf_group(source, file, *group, taken, error))
			return false;
	}
	return true;
}

static bool refuse_name(const Source *source, const char *name,
	GError **error)
{
	if (name)
		fleece_set_error(error, EINVAL,
			"name= is for a SOURCE of one VM, and %s is none",
			source->spec);
	return !name;
}

static bool open_libvirt(Source *source, const char *name, GError **error)
{
	DomainHost *host;

	source->kind = SOURCE_LIBVIRT;
	if (!refuse_name(source, name, error))
		return false;
	host = domain_host_new(source->spec, error);
	if (host)
		g_ptr_array_add(source->hosts, host);
	return host;
}

static bool source_open(Source *source, const char *name, GError **error)
{
	struct stat st;

	if (domain_is_uri(source->spec))
		return open_libvirt(source, name, error);
	if (source_is_nbd(source->spec)) {
		source->kind = SOURCE_NBD;
		return list_nbd(source, name, error);
	}
	if (stat(source->spec, &st) < 0) {
		fleece_set_error_errno(error, errno, "%s", source->spec);
		return false;
	}
	if (S_ISSOCK(st.st_mode)) {
		source->kind = SOURCE_SOCKET;
		list_socket(source, name);
		return true;
	}
	if (!refuse_name(source, name, error))
		return false;
	if (source->settings->agent) {
		fleece_set_error(error, EINVAL,
			"agent= is that of one VM, and %s is none (a group "
			"of a .conf file may have its own)", source->spec);
		return false;
	}
	if (S_ISDIR(st.st_mode)) {
		source->kind = SOURCE_DIRECTORY;
		return true;
	}
	if (S_ISREG(st.st_mode)) {
		source->kind = SOURCE_CONF;
		return list_conf(source, st.st_size, error);
	}
	fleece_set_error(error, EINVAL,
		"%s: neither a QMP socket nor a directory nor a .conf file "
		"nor an NBD or libvirt URI", source->spec);
	return false;
}

Source *source_new(const char *spec, const char *name, const char *globs,
	const Settings *settings, GError **error)
{
	g_autoptr(Source) source = g_new0(Source, 1);

	source->spec = source_is_nbd(spec) || domain_is_uri(spec) ?
		g_strdup(spec) : g_canonicalize_filename(spec, NULL);
	source->globs = g_strdup(globs);
	source->settings = settings_copy(settings);
	source->hosts = g_ptr_array_new_with_free_func(
		(GDestroyNotify)domain_host_free);
	if (!source_open(source, name, error))
		return NULL;
	return g_steal_pointer(&source);
}

void source_free(Source *source)
{
	if (!source)
		return;
	g_free(source->spec);
	g_free(source->globs);
	settings_free(source->settings);
	g_clear_pointer(&source->fixed, g_ptr_array_unref);
	g_ptr_array_unref(source->hosts);
	g_free(source);
}

const GPtrArray *source_hosts(const Source *source)
{
	return source->hosts;
}

const char *source_spec(const Source *source)
{
	return source->spec;
}

bool source_needs_scratch(const Source *source)
{
	bool any = !source->fixed;

	for (guint i = 0; source->fixed && i < source->fixed->len; i++) {
		const VmConfig *config = source->fixed->pdata[i];

		any = any || config->qmp;
	}
	return any;
}

bool source_has_images(const Source *source)
{
	bool any = false;

	for (guint i = 0; source->fixed && i < source->fixed->len; i++) {
		const VmConfig *config = source->fixed->pdata[i];

		any = any || config->images;
	}
	return any;
}

static GPtrArray *copy_fixed(const Source *source)
{
	GPtrArray *vms = config_array();

	for (guint i = 0; i < source->fixed->len; i++)
		g_ptr_array_add(vms, vm_config_copy(source->fixed->pdata[i]));
	return vms;
}

static int compare_configs(gconstpointer a, gconstpointer b)
{
	return strcmp((*(VmConfig *const *)a)->name,
		(*(VmConfig *const *)b)->name);
}

GPtrArray *source_list(const Source *source, GError **error)
{
	GPtrArray *vms = source->kind == SOURCE_LIBVIRT ?
		list_domains(source, error) :
		source->kind == SOURCE_DIRECTORY ?
		list_directory(source, error) : copy_fixed(source);

	if (vms)
		g_ptr_array_sort(vms, compare_configs);
	return vms;
}
