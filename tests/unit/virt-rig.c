/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-rig.h"

#include <glib/gstdio.h>

#include "virt-pool.h"

static VirtDomainHandle *lookup(VirtHost *host)
{
	VirtPool *pool = virt_host_pool(host);
	VirtConnection *connection = virt_pool_take(pool, NULL);
	VirtDomainHandle *domain;

	g_assert_nonnull(connection);
	domain = virDomainLookupByUUIDString(connection, VIRT_RIG_UUID);
	virt_pool_give(pool, connection);
	g_assert_nonnull(domain);
	return domain;
}

VirtHost *virt_rig_new(const char *outside, const char *devices)
{
	g_autofree char *text = g_strdup_printf("<node><domain type='test'>"
		"<name>vm</name><uuid>" VIRT_RIG_UUID "</uuid>"
		"<memory>8192</memory><os><type>hvm</type></os>"
		"%s<devices>%s</devices></domain></node>", outside, devices);
	g_autofree char *path = NULL;
	g_autofree char *uri = NULL;
	g_autoptr(GError) error = NULL;
	VirtConnection *connection;
	int fd = g_file_open_tmp("fleecefs-node-XXXXXX", &path, NULL);
	VirtHost *host;

	g_assert_true(fd >= 0 && g_close(fd, NULL));
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	uri = g_strconcat("test://", path, NULL);
	host = virt_host_new(uri, NULL, NULL);
	/* the file is read at once, and there is but this connection */
	connection = virt_pool_take(virt_host_pool(host), &error);
	g_unlink(path);
	g_assert_no_error(error);
	virt_pool_give(virt_host_pool(host), connection);
	return host;
}

void virt_rig_shut_off(VirtHost *host)
{
	g_autoptr(VirtDomainHandle) domain = lookup(host);

	g_assert_cmpint(virDomainDestroy(domain), ==, 0);
}

void virt_rig_add_checkpoint(VirtHost *host, const char *name,
	const char *description, const char *disks)
{
	g_autoptr(VirtDomainHandle) domain = lookup(host);
	g_auto(GStrv) targets = g_strsplit(disks, " ", -1);
	g_autoptr(GString) xml = g_string_new("<domaincheckpoint>");
	virDomainCheckpointPtr made;

	g_string_append_printf(xml, "<name>%s</name>", name);
	if (description)
		g_string_append_printf(xml, "<description>%s</description>",
			description);
	g_string_append(xml, "<disks>");
	for (char **target = targets; *target; target++)
		g_string_append_printf(xml,
			"<disk name='%s' checkpoint='bitmap'/>", *target);
	g_string_append(xml, "</disks></domaincheckpoint>");
	made = virDomainCheckpointCreateXML(domain, xml->str, 0);
	g_assert_nonnull(made);
	virDomainCheckpointFree(made);
}

char *virt_rig_checkpoint_xml(VirtHost *host, const char *name)
{
	g_autoptr(VirtDomainHandle) domain = lookup(host);
	virDomainCheckpointPtr found = virDomainCheckpointLookupByName(domain,
		name, 0);
	char *xml;

	g_assert_nonnull(found);
	xml = virt_text_take(virDomainCheckpointGetXMLDesc(found, 0));
	virDomainCheckpointFree(found);
	g_assert_nonnull(xml);
	return xml;
}
