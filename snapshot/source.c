/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fleece-error.h"
#include "safe-name.h"
#include "source-conf.h"
#include "source-nbd.h"
#include "source-place.h"

#define NBD_NAME "nbd"

struct Source {
	char *spec;
	char *globs;
	bool has_groups;
	GPtrArray *places; /* SourcePlaces */
	GPtrArray *hosts;  /* DomainHosts */
};

/* A SOURCE that is one VM, unless the globs leave it out. */
static VmConfig *add_single(Source *source, const char *name,
	const Settings *settings)
{
	SourcePlace *place;

	if (!globs_match(source->globs, name))
		return NULL;
	place = source_place_new(settings);
	place->vm->name = safe_name(name);
	g_ptr_array_add(source->places, place);
	return place->vm;
}

static void open_socket(Source *source, const char *name,
	const Settings *settings)
{
	g_autofree char *stem = safe_name_stem(source->spec);
	VmConfig *vm = add_single(source, name ? name : stem, settings);

	if (vm)
		vm->qmp = g_strdup(source->spec);
}

static bool open_nbd(Source *source, const char *name,
	const Settings *settings, GError **error)
{
	VmConfig *vm;

	if (!source_nbd_check(source->spec, error))
		return false;
	vm = add_single(source, name ? name : NBD_NAME, settings);
	if (!vm)
		return true;
	vm->nbd = g_strdup(source->spec);
	settings_keep_for_nbd(vm->settings);
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

static bool refuse_agent(const Source *source, const Settings *settings,
	GError **error)
{
	if (settings->agent)
		fleece_set_error(error, EINVAL,
			"agent= is that of one VM, and %s is none (a group "
			"of a .conf file may have its own)", source->spec);
	return !settings->agent;
}

static SourcePlace *add_several(Source *source, const Settings *settings)
{
	SourcePlace *place = source_place_new(settings);

	g_ptr_array_add(source->places, place);
	return place;
}

static bool open_libvirt(Source *source, const Settings *settings,
	GError **error)
{
	DomainHost *host = domain_host_new(source->spec, error);

	if (!host)
		return false;
	g_ptr_array_add(source->hosts, host);
	add_several(source, settings)->vm->host = host;
	return true;
}

static bool open_file(Source *source, const struct stat *st,
	const Settings *settings, GError **error)
{
	source->has_groups = S_ISREG(st->st_mode);
	if (source->has_groups)
		return source_conf_read(source->spec, st->st_size,
			source->globs, settings, source->places,
			source->hosts, error);
	if (S_ISDIR(st->st_mode)) {
		add_several(source, settings)->directory =
			g_strdup(source->spec);
		return true;
	}
	fleece_set_error(error, EINVAL,
		"%s: neither a QMP socket nor a directory nor a .conf file "
		"nor an NBD or libvirt URI", source->spec);
	return false;
}

static bool source_open(Source *source, const char *name,
	const Settings *settings, GError **error)
{
	struct stat st;

	if (domain_is_uri(source->spec))
		return refuse_name(source, name, error) &&
			open_libvirt(source, settings, error);
	if (source_is_nbd(source->spec))
		return open_nbd(source, name, settings, error);
	if (stat(source->spec, &st) < 0) {
		fleece_set_error_errno(error, errno, "%s", source->spec);
		return false;
	}
	if (S_ISSOCK(st.st_mode)) {
		open_socket(source, name, settings);
		return true;
	}
	return refuse_name(source, name, error) &&
		refuse_agent(source, settings, error) &&
		open_file(source, &st, settings, error);
}

Source *source_new(const char *spec, const char *name, const char *globs,
	const Settings *settings, GError **error)
{
	g_autoptr(Source) source = g_new0(Source, 1);

	source->spec = source_is_nbd(spec) || domain_is_uri(spec) ?
		g_strdup(spec) : g_canonicalize_filename(spec, NULL);
	source->globs = g_strdup(globs);
	source->places = g_ptr_array_new_with_free_func(
		(GDestroyNotify)source_place_free);
	source->hosts = g_ptr_array_new_with_free_func(
		(GDestroyNotify)domain_host_free);
	if (!source_open(source, name, settings, error))
		return NULL;
	return g_steal_pointer(&source);
}

void source_free(Source *source)
{
	if (!source)
		return;
	g_free(source->spec);
	g_free(source->globs);
	g_ptr_array_unref(source->places);
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

bool source_has_groups(const Source *source)
{
	return source->has_groups;
}

static bool is_here(DomainHost *host)
{
	return host && !domain_is_remote(virt_host_uri(domain_host_virt(host)));
}

bool source_runs_programs(const Source *source)
{
	bool any = false;

	for (guint i = 0; i < source->hosts->len; i++)
		any = any || domain_uri_runs_program(virt_host_uri(
			domain_host_virt(source->hosts->pdata[i])));
	return any;
}

bool source_needs_scratch(const Source *source)
{
	bool any = false;

	for (guint i = 0; i < source->places->len; i++) {
		const SourcePlace *place = source->places->pdata[i];

		any = any || place->directory || place->vm->qmp ||
			is_here(place->vm->host);
	}
	return any;
}

bool source_may_be_off(const Source *source)
{
	bool any = false;

	for (guint i = 0; i < source->places->len; i++) {
		const SourcePlace *place = source->places->pdata[i];

		any = any || place->vm->images || is_here(place->vm->host);
	}
	return any;
}

static int compare_configs(gconstpointer a, gconstpointer b)
{
	return strcmp((*(VmConfig *const *)a)->name,
		(*(VmConfig *const *)b)->name);
}

/* Single VMs keep their names whoever comes and goes elsewhere. */
static GHashTable *single_names(const Source *source)
{
	GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal,
		g_free, NULL);

	for (guint i = 0; i < source->places->len; i++) {
		const SourcePlace *place = source->places->pdata[i];

		if (place->vm->name)
			g_hash_table_add(names, g_strdup(place->vm->name));
	}
	return names;
}

GPtrArray *source_list(const Source *source, GPtrArray *failures)
{
	g_autoptr(GHashTable) taken = single_names(source);
	GPtrArray *vms = vm_config_array();

	for (guint i = 0; i < source->places->len; i++) {
		const SourcePlace *place = source->places->pdata[i];
		GError *failure = NULL;

		if (source_place_list(place, source->globs, taken, vms,
			    &failure))
			continue;
		if (place->group)
			g_prefix_error(&failure, "%s: group [%s]: ",
				source->spec, place->group);
		g_ptr_array_add(failures, failure);
	}
	g_ptr_array_sort(vms, compare_configs);
	return vms;
}

GPtrArray *source_failures_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
}

bool source_failed(const GPtrArray *failures, GError **error)
{
	if (failures->len)
		g_propagate_error(error, g_error_copy(failures->pdata[0]));
	return failures->len;
}
