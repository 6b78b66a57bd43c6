/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-checkpoints.h"

#include <errno.h>

#include "domain-chain.h"
#include "fleece-error.h"
#include "virt-backup.h"
#include "virt-checkpoint.h"
#include "virt-domain.h"

GPtrArray *domain_chain_read(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(GPtrArray) found = virt_checkpoints(host, uuid, error);
	GPtrArray *list;

	if (!found)
		return NULL;
	list = g_ptr_array_new_with_free_func(
		(GDestroyNotify)domain_checkpoint_free);
	for (guint i = 0; i < found->len; i++) {
		const VirtCheckpoint *checkpoint = found->pdata[i];
		DomainCheckpoint *ours = domain_checkpoint_parse(
			checkpoint->name, checkpoint->description);

		if (ours)
			g_ptr_array_add(list, ours);
	}
	return list;
}

static bool has_disk(const GPtrArray *disks, const char *target)
{
	for (guint i = 0; i < disks->len; i++) {
		const ChainDisk *disk = disks->pdata[i];

		if (g_str_equal(disk->id, target))
			return true;
	}
	return false;
}

/* Of a disk that is not there any more the size is what it was. */
static void add_disk(VirtHost *host, const char *uuid, GPtrArray *disks,
	const GPtrArray *checkpoints, const DomainPart *part)
{
	uint64_t size = part->size;

	if (has_disk(disks, part->target))
		return;
	virt_domain_capacity(host, uuid, part->target, &size, NULL);
	g_ptr_array_add(disks, domain_chain_disk(checkpoints, uuid,
		part->target, size));
}

GPtrArray *domain_checkpoints_read(VirtHost *host, const char *uuid,
	GError **error)
{
	g_autoptr(GPtrArray) checkpoints = domain_chain_read(host, uuid,
		error);
	GPtrArray *disks;

	if (!checkpoints)
		return NULL;
	disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)chain_disk_free);
	for (guint i = 0; i < checkpoints->len; i++) {
		const DomainCheckpoint *checkpoint = checkpoints->pdata[i];

		for (guint k = 0; k < checkpoint->disks->len; k++)
			add_disk(host, uuid, disks, checkpoints,
				checkpoint->disks->pdata[k]);
	}
	return disks;
}

static bool job_runs(VirtHost *host, const char *uuid, bool *runs,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(VirtJob) job = virt_backup_job(host, uuid, &failure);

	*runs = job;
	if (job || g_error_matches(failure, FLEECE_ERROR, ENOENT))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

bool domain_checkpoints_delete(VirtHost *host, const char *uuid,
	const char *chain, gint64 instant_ms, unsigned *deleted,
	GError **error)
{
	g_autoptr(GPtrArray) list = domain_chain_read(host, uuid, error);
	g_autoptr(GError) first = NULL;
	bool runs;

	if (!list || !job_runs(host, uuid, &runs, error))
		return false;
	for (guint i = 0; i < list->len; i++) {
		const DomainCheckpoint *checkpoint = list->pdata[i];

		if (!g_str_equal(checkpoint->chain, chain) ||
		    (instant_ms && checkpoint->instant_ms != instant_ms) ||
		    (checkpoint->pending && runs))
			continue;
		if (virt_checkpoint_delete(host, uuid, checkpoint->name, NULL,
			    first ? NULL : &first))
			++*deleted;
	}
	if (!first)
		return true;
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}

bool domain_checkpoints_drop_pending(VirtHost *host, const char *vm,
	const char *uuid, GError **error)
{
	g_autoptr(GPtrArray) list = domain_chain_read(host, uuid, error);

	for (guint i = 0; list && i < list->len; i++) {
		const DomainCheckpoint *ours = list->pdata[i];
		g_autoptr(GError) failure = NULL;

		if (!ours->pending)
			continue;
		if (virt_checkpoint_delete(host, uuid, ours->name, NULL,
			    &failure))
			g_message("VM %s: dropped checkpoint %s, which was "
				"never committed", vm, ours->name);
		else
			g_warning("VM %s: a checkpoint that was never "
				"committed stays: %s", vm, failure->message);
	}
	return list;
}
