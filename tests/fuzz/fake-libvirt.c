/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-libvirt.h"

#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define NAME "checkpoint"

FakeLibvirt fake_libvirt;

/* Nobody looks into what libvirt gives away. */
static int thing;

int virInitialize(void)
{
	return 0;
}

virConnectPtr virConnectOpenAuth(const char *name, virConnectAuthPtr auth,
	unsigned int flags)
{
	return (virConnectPtr)&thing;
}

int virConnectRef(virConnectPtr connection)
{
	return 0;
}

int virConnectClose(virConnectPtr connection)
{
	return 0;
}

int virConnectIsAlive(virConnectPtr connection)
{
	return 1;
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr connection,
	const char *uuid)
{
	return (virDomainPtr)&thing;
}

int virDomainFree(virDomainPtr domain)
{
	return 0;
}

virDomainCheckpointPtr virDomainCheckpointLookupByName(virDomainPtr domain,
	const char *name, unsigned int flags)
{
	return (virDomainCheckpointPtr)&thing;
}

int virDomainCheckpointFree(virDomainCheckpointPtr checkpoint)
{
	return 0;
}

const char *virDomainCheckpointGetName(virDomainCheckpointPtr checkpoint)
{
	return NAME;
}

char *virDomainCheckpointGetXMLDesc(virDomainCheckpointPtr checkpoint,
	unsigned int flags)
{
	return strdup(fake_libvirt.checkpoint);
}

virDomainCheckpointPtr virDomainCheckpointCreateXML(virDomainPtr domain,
	const char *xml, unsigned int flags)
{
	g_free(fake_libvirt.redefined);
	fake_libvirt.redefined = g_strdup(xml);
	return (virDomainCheckpointPtr)&thing;
}

char *virDomainBackupGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
	return strdup(fake_libvirt.job);
}
