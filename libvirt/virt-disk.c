/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-disk.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-xml.h"

static void disk_free(VirtDisk *disk)
{
	g_free(disk->target);
	g_free(disk->device);
	g_free(disk->kind);
	g_free(disk->format);
	g_free(disk);
}

void virt_hardware_free(VirtHardware *hardware)
{
	if (!hardware)
		return;
	g_ptr_array_unref(hardware->disks);
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
	g_ptr_array_add(hardware->disks, disk);
}

static void set(char **text, const char *value)
{
	if (!value)
		return;
	g_free(*text);
	*text = g_strdup(value);
}

/* An element directly below the disk: those of its backing chain are deeper. */
static void take_part(VirtDisk *disk, const VirtElement *element)
{
	if (g_str_equal(element->name, "target"))
		set(&disk->target, virt_element_get(element, "dev"));
	else if (g_str_equal(element->name, "driver"))
		set(&disk->format, virt_element_get(element, "type"));
	else if (g_str_equal(element->name, "source"))
		disk->has_medium = true;
	else if (g_str_equal(element->name, "readonly"))
		disk->read_only = true;
	else if (g_str_equal(element->name, "shareable"))
		disk->shareable = true;
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

	if (g_str_equal(element->path, "/domain/devices/disk"))
		take_disk(hardware, element);
	else if (g_str_equal(element->parent, "/domain/devices/disk"))
		take_part(disks->pdata[disks->len - 1], element);
	else if (g_str_equal(element->path, "/domain/iothreads"))
		hardware->iothreads = true;
	else if (g_str_equal(element->path, "/domain/devices/channel/target"))
		hardware->agent |= is_agent(element);
}

VirtHardware *virt_hardware_parse(const char *xml, GError **error)
{
	g_autoptr(VirtHardware) hardware = g_new0(VirtHardware, 1);

	hardware->disks = g_ptr_array_new_with_free_func(
		(GDestroyNotify)disk_free);
	if (!virt_xml_walk(xml, "domain", take_element, NULL, hardware, error))
		return NULL;
	return g_steal_pointer(&hardware);
}
