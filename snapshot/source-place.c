/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source-place.h"

#include <string.h>
#include <sys/stat.h>

#include "safe-name.h"

#define SOCKET_SUFFIX ".qmp"

SourcePlace *source_place_new(const Settings *settings)
{
	SourcePlace *place = g_new0(SourcePlace, 1);

	place->vm = g_new0(VmConfig, 1);
	place->vm->settings = settings_copy(settings);
	return place;
}

void source_place_free(SourcePlace *place)
{
	if (!place)
		return;
	vm_config_free(place->vm);
	g_free(place->directory);
	g_clear_pointer(&place->named, g_ptr_array_unref);
	g_free(place->group);
	g_free(place);
}

/* Adds one of several VMs, unless the globs leave it out. */
static VmConfig *add_vm(const SourcePlace *place, const char *globs,
	GHashTable *taken, GPtrArray *vms, const char *name)
{
	g_autofree char *full = place->group ?
		g_strconcat(name, "@", place->group, NULL) : g_strdup(name);
	VmConfig *config;

	if (!globs_match(globs, full))
		return NULL;
	config = vm_config_copy(place->vm);
	config->name = g_strdup(safe_name_unique(full, taken));
	g_ptr_array_add(vms, config);
	return config;
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

static bool list_directory(const SourcePlace *place, const char *globs,
	GHashTable *taken, GPtrArray *vms, GError **error)
{
	g_autoptr(GPtrArray) files = socket_files(place->directory, error);

	for (guint i = 0; files && i < files->len; i++) {
		g_autofree char *name = safe_name_stem(files->pdata[i]);
		VmConfig *config = add_vm(place, globs, taken, vms, name);

		if (config)
			config->qmp = g_strdup(files->pdata[i]);
	}
	return files;
}

static int compare_domains(gconstpointer a, gconstpointer b)
{
	return strcmp((*(DomainName *const *)a)->name,
		(*(DomainName *const *)b)->name);
}

static bool is_named(const SourcePlace *place, const char *domain)
{
	return place->named && g_ptr_array_find_with_equal_func(place->named,
		domain, g_str_equal, NULL);
}

/* Sorted, as in list_directory(). */
static bool list_domains(const SourcePlace *place, const char *globs,
	GHashTable *taken, GPtrArray *vms, GError **error)
{
	g_autoptr(GPtrArray) names = domain_host_list(place->vm->host, error);

	if (!names)
		return false;
	g_ptr_array_sort(names, compare_domains);
	for (guint i = 0; i < names->len; i++) {
		const DomainName *name = names->pdata[i];
		VmConfig *config = is_named(place, name->name) ? NULL :
			add_vm(place, globs, taken, vms, name->name);

		if (!config)
			continue;
		config->domain = g_strdup(name->name);
		config->uuid = g_strdup(name->uuid);
	}
	return true;
}

/* A single one.  Why its libvirt does not answer is said by whoever needs it:
 * vm_config_check(). */
static void find_domain(VmConfig *config)
{
	g_autoptr(GPtrArray) names = domain_host_list(config->host, NULL);

	for (guint i = 0; names && i < names->len; i++) {
		const DomainName *name = names->pdata[i];

		if (g_str_equal(name->name, config->domain))
			config->uuid = g_strdup(name->uuid);
	}
}

static void list_single(const SourcePlace *place, GPtrArray *vms)
{
	VmConfig *config = vm_config_copy(place->vm);

	if (config->host)
		find_domain(config);
	g_ptr_array_add(vms, config);
}

bool source_place_list(const SourcePlace *place, const char *globs,
	GHashTable *taken, GPtrArray *vms, GError **error)
{
	if (place->directory)
		return list_directory(place, globs, taken, vms, error);
	if (!place->vm->name)
		return list_domains(place, globs, taken, vms, error);
	list_single(place, vms);
	return true;
}
