/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-build.h"

#include <errno.h>
#include <string.h>

#include "chain-instant.h"
#include "domain-owner.h"
#include "fleece-error.h"
#include "instant.h"
#include "quirks.h"
#include "virt-domain.h"

/* What libvirt keeps bitmaps in. */
#define KEEPING_FORMAT "qcow2"

static const Settings *settings(const DomainBuild *build)
{
	return build->request->settings;
}

bool domain_is_disk(const VirtDisk *disk)
{
	return disk->has_medium && (g_str_equal(disk->device, "disk") ||
		g_str_equal(disk->device, "lun"));
}

/* It becomes a part of a path, of an export's name and of a description.  The
 * driver for QEMU of libvirt 9.0 refuses any other itself. */
static bool has_plain_name(const VirtDisk *disk)
{
	static const char plain[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS
		"_-.:";

	return disk->target[0] &&
		!disk->target[strspn(disk->target, plain)];
}

static bool check_disk(const VirtDisk *disk, GError **error)
{
	g_autofree char *name = g_strescape(disk->target, NULL);
	const char *why = NULL;

	if (!has_plain_name(disk))
		why = "its name is not made of letters, digits and _-.:";
	else if (g_str_equal(disk->device, "lun"))
		why = "it is passed through, its writes go past QEMU's block "
		      "layer";
	else if (g_str_equal(disk->kind, "vhostuser"))
		why = "its writes go past QEMU";
	else if (disk->shareable)
		why = "it is shareable, others may write to it past this QEMU";
	if (!why)
		return true;
	fleece_set_error(error, EOPNOTSUPP,
		"disk %s: %s; leave it out with disk=", name, why);
	return false;
}

static DomainDisk *disk_new(const DomainBuild *build, const VirtDisk *found)
{
	DomainDisk *disk = g_new0(DomainDisk, 1);

	disk->disk = found;
	disk->chosen = domain_is_disk(found) &&
		globs_match(settings(build)->disks, found->target);
	disk->export = build->off ? g_strdup(found->target) :
		domain_owner_export(build->owner, found->target);
	disk->scratch = g_strdup_printf("%s/fleecefs-%s-%s",
		settings(build)->scratch, build->owner->session,
		found->target);
	disk->base.reason = "no-chain";
	return disk;
}

static bool choose_disks(DomainBuild *build, GError **error)
{
	GPtrArray *found = build->hardware->disks;
	unsigned chosen = 0;

	for (guint i = 0; i < found->len; i++) {
		const VirtDisk *candidate = found->pdata[i];
		DomainDisk *disk;

		if (!candidate->has_medium)
			continue;
		disk = disk_new(build, candidate);
		g_ptr_array_add(build->disks, disk);
		chosen += disk->chosen;
		if (disk->chosen && !check_disk(candidate, error))
			return false;
	}
	if (!chosen)
		fleece_set_error(error, ENOENT, "the domain has no %s",
			settings(build)->disks ? "chosen disk" : "disk");
	return chosen;
}

/*
 * No duplicate of our sockets can be put into QEMU here, so our death is a
 * disconnect (HACKING, "What aborts or hangs QEMU").
 */
static bool check_iothreads(DomainBuild *build, GError **error)
{
	static const char why[] = "with iothreads, QEMU before 9.0 can be "
		"aborted by a reader that goes away, and libvirt lets nobody "
		"prevent it";
	unsigned version = virt_host_qemu_version(build->virt);

	if (build->off || settings(build)->via == VIA_MONITOR ||
	    !build->hardware->iothreads ||
	    version >= QEMU_VERSION(9, 0, 0))
		return true;
	if (settings(build)->unsafe_qemu) {
		g_warning("VM %s: %s", build->request->vm, why);
		g_ptr_array_add(build->fleece->warnings, g_strdup(why));
		return true;
	}
	fleece_set_error(error, EOPNOTSUPP, "QEMU %u.%u.%u: %s (unsafe_qemu "
		"goes on all the same)", version / 10000, version / 100 % 100,
		version % 100, why);
	return false;
}

bool domain_plan_disks(DomainBuild *build, GError **error)
{
	const char *uuid = build->request->uuid;
	Fleece *fleece = build->fleece;

	fleece->domain_xml = virt_domain_xml(build->virt, uuid, error);
	if (!fleece->domain_xml)
		return false;
	build->hardware = virt_hardware_parse(fleece->domain_xml, error);
	return build->hardware && choose_disks(build, error) &&
		check_iothreads(build, error);
}

/* --- the chain --- */

static bool keeps(const DomainDisk *disk)
{
	return g_str_equal(disk->disk->format, KEEPING_FORMAT);
}

bool domain_plan_size(DomainBuild *build, DomainDisk *disk, GError **error)
{
	const char *target = disk->disk->target;

	if (disk->size || virt_domain_capacity(build->virt,
			build->request->uuid, target, &disk->size, error))
		return true;
	g_prefix_error(error, "disk %s: ", target);
	return false;
}

static bool read_facts(DomainBuild *build, DomainDisk *disk, GError **error)
{
	const char *uuid = build->request->uuid;
	const char *target = disk->disk->target;

	/* of one that is off, its server has said it */
	if (disk->chosen && !build->off && !domain_plan_size(build, disk,
		    error))
		return false;
	disk->facts = domain_chain_disk(build->checkpoints, uuid, target,
		disk->size);
	if (build->off)
		domain_off_judge(build->images, disk->facts);
	disk->facts->keeps = keeps(disk);
	disk->facts->read_only = disk->disk->read_only;
	disk->facts->chosen = disk->chosen;
	disk->recorded = disk->chosen && keeps(disk) &&
		!disk->disk->read_only;
	return true;
}

static bool gather(DomainBuild *build, GError **error)
{
	bool any = false;

	build->checkpoints = domain_chain_read(build->virt,
		build->request->uuid, error);
	if (!build->checkpoints)
		return false;
	for (guint i = 0; i < build->disks->len; i++) {
		DomainDisk *disk = build->disks->pdata[i];

		if (!read_facts(build, disk, error))
			return false;
		any |= disk->recorded;
	}
	if (!any)
		fleece_set_error(error, EOPNOTSUPP, "option 'chain' needs a "
			"disk of the format " KEEPING_FORMAT ": libvirt keeps "
			"checkpoints in no other");
	return any;
}

static ChainDisk **all_facts(const DomainBuild *build)
{
	ChainDisk **all = g_new0(ChainDisk *, build->disks->len);

	for (guint i = 0; i < build->disks->len; i++)
		all[i] = ((DomainDisk *)build->disks->pdata[i])->facts;
	return all;
}

static void take_base(DomainBuild *build, DomainDisk *disk,
	const ChainBase *base)
{
	disk->base = *base;
	if (!keeps(disk) && !disk->disk->read_only)
		disk->base = (ChainBase){ NULL, "no-bitmap" };
	g_clear_pointer(&disk->base_name, g_free);
	if (disk->base.base)
		disk->base_name = g_strdup(disk->base.base->name);
}

static bool plan_bases(DomainBuild *build, const ChainDisk *const *all,
	GError **error)
{
	g_autofree ChainBase *bases = g_new0(ChainBase, build->disks->len);
	const ChainWish wish = {
		.chain = settings(build)->chain,
		.since_ms = settings(build)->since_ms,
		.fallback_full = settings(build)->fallback_full,
		.keep = settings(build)->keep,
	};

	if (!chain_plan_bases(&wish, all, build->disks->len, bases, error))
		return false;
	for (guint i = 0; i < build->disks->len; i++)
		take_base(build, build->disks->pdata[i], &bases[i]);
	return true;
}

static bool plan_next(DomainBuild *build, const ChainDisk *const *all,
	GError **error)
{
	gint64 *instant = &build->fleece->instant_ms;

	if (!chain_next_instant(build->request->vm, settings(build)->chain,
		    all, build->disks->len, instant, error))
		return false;
	g_clear_pointer(&build->next, domain_checkpoint_free);
	build->next = domain_checkpoint_new(settings(build)->chain, *instant);
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		if (disk->recorded)
			domain_checkpoint_add(build->next,
				disk->disk->target, disk->size, *instant);
	}
	return true;
}

bool domain_plan_chain(DomainBuild *build, GError **error)
{
	g_autofree ChainDisk **all = NULL;

	build->fleece->instant_ms = instant_now();
	if (!settings(build)->chain)
		return true;
	if (!build->checkpoints && !gather(build, error))
		return false;
	all = all_facts(build);
	return plan_bases(build, (const ChainDisk *const *)all, error) &&
		(build->off || plan_next(build,
			(const ChainDisk *const *)all, error));
}
