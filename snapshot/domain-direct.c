/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-direct.c - a domain's snapshot by its own QEMU, whose monitor libvirt
 * lends */
#include "domain-build.h"

#include "fleece-error.h"
#include "monitor.h"
#include "virt-domain.h"

/* QEMU calls a disk by its alias, everybody else by its target. */
static GHashTable *name_disks(const DomainBuild *build)
{
	GHashTable *names = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		if (domain_is_disk(disk->disk) && disk->disk->alias)
			g_hash_table_insert(names, disk->disk->alias,
				disk->disk->target);
	}
	return names;
}

Fleece *domain_direct(const DomainBuild *build, GError **error)
{
	const DomainRequest *request = build->request;
	const Monitor monitor = { virt_host_uri(build->virt), request->uuid };
	g_autoptr(GHashTable) names = name_disks(build);
	const FleeceRequest direct = {
		.vm = request->vm,
		.monitor = &monitor,
		.names = names,
		.settings = request->settings,
		.guardian = request->guardian,
		.undo = request->undo,
		.loops = request->loops,
		.n_loops = request->n_loops,
	};
	Fleece *fleece;

	if (!virt_domain_wait_idle(build->virt, request->uuid,
		    request->settings->timeout_ms, error))
		return NULL;
	fleece = fleece_new(&direct, error);
	if (!fleece)
		return NULL;
	fleece->domain_xml = g_strdup(build->fleece->domain_xml);
	fleece->nvram = domain_nvram_read(request, build->hardware);
	return fleece;
}
