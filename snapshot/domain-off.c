/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-off.c - the disks of a domain that is off */
#include <errno.h>

#include "domain-build.h"
#include "fleece-error.h"
#include "image-host.h"

static bool check_kind(const VirtDisk *disk, const char *kind,
	const char *format, const char *path, GError **error)
{
	g_autofree char *why = NULL;

	if (!path || !path[0] ||
	    (!g_str_equal(kind, "file") && !g_str_equal(kind, "block")))
		why = g_strdup_printf("its source is of the type '%s', and "
			"only files and block devices can be read", kind);
	else if (!g_str_equal(format, "raw") && !g_str_equal(format, "qcow2"))
		why = g_strdup_printf("its format is '%s', and only raw and "
			"qcow2 can be read", format);
	else if (disk->special)
		why = g_strdup_printf("it cannot be read with <%s>",
			disk->special);
	if (!why)
		return true;
	fleece_set_error(error, EOPNOTSUPP, "disk %s: %s while the domain is "
		"off; leave it out with disk=", disk->target, why);
	return false;
}

DiskImage *domain_off_image(const VirtDisk *disk, GError **error)
{
	g_autoptr(DiskImage) image = NULL;

	if (!check_kind(disk, disk->kind, disk->format, disk->path, error))
		return NULL;
	image = disk_image_new(disk->path, disk->target, disk->format);
	for (guint i = 0; i < disk->backing->len; i++) {
		const VirtLayer *layer = disk->backing->pdata[i];

		if (!check_kind(disk, layer->kind, layer->format, layer->path,
			    error))
			return NULL;
		g_ptr_array_add(image->backing, disk_image_new(layer->path,
			disk->target, layer->format));
	}
	image->ends = disk->ends;
	return g_steal_pointer(&image);
}

bool domain_off_open(DomainBuild *build, GError **error)
{
	const DomainRequest *request = build->request;
	g_autoptr(GPtrArray) images = disk_image_array();

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];
		DiskImage *image;

		if (!disk->chosen)
			continue;
		image = domain_off_image(disk->disk, error);
		if (!image)
			return false;
		g_ptr_array_add(images, image);
	}
	build->images = image_host_new(request->starter, request->vm, images,
		request->settings->timeout_ms, error);
	return build->images;
}

/* What libvirt says of a bitmap it has read in the checkpoint; whether it is
 * there, and good, only the image knows. */
static void judge_one(const ImageHost *images, const ChainDisk *disk,
	ChainBitmap *bitmap)
{
	const QmpBitmap *stored = image_host_bitmap(images, disk->id,
		bitmap->name);

	bitmap->recording = stored && stored->recording;
	bitmap->inconsistent = !stored || stored->inconsistent;
}

/*
 * One that is below an image has recorded for a layer that was the top then:
 * an increment from the top's alone would miss that.  Which image it is below
 * is not asked; too much is full then.
 */
static void add_below(ChainDisk *disk, const ChainBitmap *bitmap)
{
	g_autofree char *name = checkpoint_to_name(bitmap->checkpoint);
	ChainBitmap *below = chain_disk_add(disk, disk->node, name);

	if (below)
		below->lower = true;
}

void domain_off_judge(const ImageHost *images, ChainDisk *disk)
{
	guint n = disk->bitmaps->len;

	for (guint i = 0; i < n; i++) {
		ChainBitmap *bitmap = disk->bitmaps->pdata[i];

		judge_one(images, disk, bitmap);
		if (image_host_has_below(images, bitmap->name))
			add_below(disk, bitmap);
	}
}
