/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-config.h"

#include <errno.h>

#include "fleece-error.h"

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
	copy->settings = settings_copy(config->settings);
	return copy;
}

bool vm_config_check(const VmConfig *config, GError **error)
{
	g_autoptr(GPtrArray) names = NULL;

	if (!config->host || config->uuid)
		return true;
	names = domain_host_list(config->host, error);
	if (names)
		fleece_set_error(error, ENOENT, "%s: there is no domain '%s'",
			virt_host_uri(domain_host_virt(config->host)),
			config->domain);
	return false;
}

Monitor vm_config_monitor(const VmConfig *config)
{
	if (!config->host)
		return (Monitor){ config->qmp };
	return (Monitor){ virt_host_uri(domain_host_virt(config->host)),
		config->settings->via == VIA_MONITOR ? config->uuid : NULL };
}

GPtrArray *vm_config_array(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)vm_config_free);
}
