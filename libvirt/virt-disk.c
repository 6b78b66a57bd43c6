/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-disk.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-xml.h"

#define DISK "/domain/devices/disk"
#define NVRAM "/domain/os/nvram"
#define BACKING_NAME "backingStore"
#define BACKING "/" BACKING_NAME

static void layer_free(VirtLayer *layer)
{
	g_free(layer->kind);
	g_free(layer->format);
	g_free(layer->path);
	g_free(layer);
}

static void disk_free(VirtDisk *disk)
{
	g_free(disk->target);
	g_free(disk->alias);
	g_free(disk->device);
	g_free(disk->kind);
	g_free(disk->format);
	g_free(disk->path);
	g_ptr_array_unref(disk->backing);
	g_free(disk);
}

void virt_hardware_free(VirtHardware *hardware)
{
	if (!hardware)
		return;
	g_ptr_array_unref(hardware->disks);
	g_free(hardware->nvram);
	g_free(hardware);
}

static void take_disk(VirtHardware *hardware, const VirtElement *element)
{
	VirtDisk *disk = g_new0(VirtDisk, 1);
	const char *device = virt_element_get(element, "device");
	const char *kind = virt_element_get(element, "type");

	disk->device = g_strdup(device ? device : "disk");
	disk->kind = g_strdup(kind ? kind : "");
	disk->target = g_strdup("");
	disk->format = g_strdup("raw");
	disk->backing = g_ptr_array_new_with_free_func(
		(GDestroyNotify)layer_free);
	g_ptr_array_add(hardware->disks, disk);
}

static void set(char **text, const char *value)
{
	if (!value)
		return;
	g_free(*text);
	*text = g_strdup(value);
}

static void set_path(char **path, const VirtElement *source)
{
	set(path, virt_element_get(source, "file"));
	set(path, virt_element_get(source, "dev"));
}

/* An element directly below the disk: those of its backing chain are deeper. */
static void take_part(VirtDisk *disk, const VirtElement *element)
{
	if (g_str_equal(element->name, "target"))
		set(&disk->target, virt_element_get(element, "dev"));
	else if (g_str_equal(element->name, "alias"))
		set(&disk->alias, virt_element_get(element, "name"));
	else if (g_str_equal(element->name, "driver"))
		set(&disk->format, virt_element_get(element, "type"));
	else if (g_str_equal(element->name, "source")) {
		disk->has_medium = true;
		set_path(&disk->path, element);
	} else if (g_str_equal(element->name, "readonly"))
		disk->read_only = true;
	else if (g_str_equal(element->name, "shareable"))
		disk->shareable = true;
}

/* How many layers below the disk the elements of parent are; -1: they are not
 * of a layer. */
static int depth_of(const char *parent)
{
	int depth = 0;

	if (!g_str_has_prefix(parent, DISK))
		return -1;
	parent += strlen(DISK);
	while (g_str_has_prefix(parent, BACKING)) {
		parent += strlen(BACKING);
		depth++;
	}
	return *parent ? -1 : depth;
}

static void take_layer(VirtDisk *disk, const VirtElement *element,
	unsigned depth)
{
	const char *kind = virt_element_get(element, "type");
	VirtLayer *layer;

	if (depth != disk->backing->len)
		return;
	disk->ends = !kind;
	if (!kind)
		return;
	layer = g_new0(VirtLayer, 1);
	layer->kind = g_strdup(kind);
	layer->format = g_strdup("raw");
	g_ptr_array_add(disk->backing, layer);
}

static void take_deeper(VirtDisk *disk, const VirtElement *element)
{
	static const char *const special[] = { "encryption", "slices" };
	int depth = depth_of(element->parent);
	VirtLayer *layer = depth > 0 && depth <= (int)disk->backing->len ?
		disk->backing->pdata[depth - 1] : NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(special); i++) {
		if (g_str_equal(element->name, special[i]))
			disk->special = special[i];
	}
	if (depth >= 0 && g_str_equal(element->name, BACKING_NAME))
		take_layer(disk, element, depth);
	else if (layer && g_str_equal(element->name, "format"))
		set(&layer->format, virt_element_get(element, "type"));
	else if (layer && g_str_equal(element->name, "source"))
		set_path(&layer->path, element);
}

static bool is_agent(const VirtElement *target)
{
	return g_strcmp0(virt_element_get(target, "name"),
		       "org.qemu.guest_agent.0") == 0 &&
		g_strcmp0(virt_element_get(target, "state"), "connected") == 0;
}

static void take_element(void *opaque, const VirtElement *element)
{
	VirtHardware *hardware = opaque;
	GPtrArray *disks = hardware->disks;

	if (g_str_equal(element->path, DISK))
		take_disk(hardware, element);
	else if (g_str_equal(element->parent, DISK))
		take_part(disks->pdata[disks->len - 1], element);
	if (g_str_has_prefix(element->path, DISK "/"))
		take_deeper(disks->pdata[disks->len - 1], element);
	else if (g_str_equal(element->path, NVRAM "/source"))
		set(&hardware->nvram, virt_element_get(element, "file"));
	else if (g_str_equal(element->path, "/domain/iothreads"))
		hardware->iothreads = true;
	else if (g_str_equal(element->path, "/domain/devices/channel/target"))
		hardware->agent |= is_agent(element);
}

/* Where it is no <source>, it is the text. */
static void take_text(void *opaque, const char *path, const char *text)
{
	VirtHardware *hardware = opaque;
	g_autofree char *before = NULL;

	if (!g_str_equal(path, NVRAM))
		return;
	before = g_steal_pointer(&hardware->nvram);
	hardware->nvram = g_strconcat(before ? before : "", text, NULL);
}

VirtHardware *virt_hardware_parse(const char *xml, GError **error)
{
	g_autoptr(VirtHardware) hardware = g_new0(VirtHardware, 1);

	hardware->disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_free);
	if (!virt_xml_walk(xml, "domain", take_element, take_text, hardware,
		    error))
		return NULL;
	if (hardware->nvram && !*g_strstrip(hardware->nvram))
		g_clear_pointer(&hardware->nvram, g_free);
	return g_steal_pointer(&hardware);
}
