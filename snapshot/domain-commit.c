/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-fleece.h"

#include <errno.h>

#include "disk-chain.h"
#include "disk-view.h"
#include "domain-chain.h"
#include "fleece-error.h"
#include "virt-checkpoint.h"

static const DiskChain *chain_of(const Fleece *fleece, const char *target)
{
	for (guint i = 0; i < fleece->disks->len; i++) {
		if (g_str_equal(disk_view_id(fleece->disks->pdata[i]), target))
			return fleece->chains->pdata[i];
	}
	return NULL;
}

/* The pending checkpoint's description, committed. */
static char *committed(const VirtCheckpoint *found, const Fleece *fleece,
	GError **error)
{
	g_autoptr(DomainCheckpoint) checkpoint = domain_checkpoint_parse(
		found->name, found->description);

	if (!checkpoint) {
		fleece_set_error(error, EPROTO, "checkpoint %s: somebody has "
			"changed its description", found->name);
		return NULL;
	}
	checkpoint->pending = false;
	for (guint i = 0; i < checkpoint->disks->len; i++) {
		DomainPart *part = checkpoint->disks->pdata[i];
		const DiskChain *chain = chain_of(fleece, part->target);

		if (chain)
			part->content_ms = chain->content_ms;
	}
	return domain_checkpoint_description(checkpoint);
}

/* It is committed by now: what stays is only one more than is needed. */
static void delete_outdated(const DomainRequest *request, VirtHost *virt,
	const Fleece *fleece)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = domain_chain_read(virt, request->uuid,
		&error);
	g_autoptr(GPtrArray) names = list ? domain_chain_outdated(list,
		request->settings->chain, fleece->instant_ms,
		MAX(request->settings->keep, 1)) : NULL;

	for (guint i = 0; names && i < names->len && !error; i++)
		virt_checkpoint_delete(virt, request->uuid, names->pdata[i],
			NULL, &error);
	if (error)
		g_warning("VM %s: an old checkpoint stays: %s", request->vm,
			error->message);
}

bool domain_commit(const DomainRequest *request, const Fleece *fleece,
	GError **error)
{
	VirtHost *virt = domain_host_virt(request->host);
	g_autoptr(VirtCheckpoint) found = NULL;
	g_autofree char *description = NULL;

	if (fleece->images) {
		fleece_set_error(error, EOPNOTSUPP, "commit: the domain was "
			"switched off, and only one that runs has new "
			"checkpoints: the chain stays as it is");
		return false;
	}
	found = virt_checkpoint_find(virt, request->uuid, fleece->checkpoint,
		error);
	description = found ? committed(found, fleece, error) : NULL;
	if (!description || !virt_checkpoint_describe(virt, request->uuid,
		    fleece->checkpoint, description, error)) {
		g_prefix_error(error, "commit: ");
		return false;
	}
	delete_outdated(request, virt, fleece);
	return true;
}
