/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-connect.h"
#include "virt-limit.h"
#include "virt-xml.h"

/* A begin that takes longer is one of a QEMU that hangs. */
#define SETTLE_MS 20000

typedef virDomainCheckpoint VirtHandle;

static void handle_free(VirtHandle *handle)
{
	virDomainCheckpointFree(handle);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VirtHandle, handle_free)

void virt_checkpoint_free(VirtCheckpoint *checkpoint)
{
	if (!checkpoint)
		return;
	g_free(checkpoint->name);
	g_free(checkpoint->description);
	g_ptr_array_unref(checkpoint->disks);
	g_free(checkpoint);
}

static void take_element(void *opaque, const VirtElement *element)
{
	VirtCheckpoint *checkpoint = opaque;
	const char *kind = virt_element_get(element, "checkpoint");
	const char *target = virt_element_get(element, "name");

	if (g_str_equal(element->path, "/domaincheckpoint/disks/disk") &&
	    target && g_strcmp0(kind, "bitmap") == 0)
		g_ptr_array_add(checkpoint->disks, g_strdup(target));
}

static void take_text(void *opaque, const char *path, const char *text)
{
	VirtCheckpoint *checkpoint = opaque;
	g_autofree char *before = NULL;

	if (!g_str_equal(path, "/domaincheckpoint/description"))
		return;
	before = checkpoint->description;
	checkpoint->description = g_strconcat(before, text, NULL);
}

static VirtCheckpoint *parse(const char *name, const char *xml,
	GError **error)
{
	g_autoptr(VirtCheckpoint) checkpoint = g_new0(VirtCheckpoint, 1);

	checkpoint->name = g_strdup(name);
	checkpoint->description = g_strdup("");
	checkpoint->disks = g_ptr_array_new_with_free_func(g_free);
	if (!virt_xml_walk(xml, "domaincheckpoint", take_element, take_text,
		    checkpoint, error))
		return NULL;
	return g_steal_pointer(&checkpoint);
}

static VirtCheckpoint *read_one(VirtHandle *handle, GError **error)
{
	g_autofree char *xml = virt_text_take(virDomainCheckpointGetXMLDesc(
		handle, VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN));

	if (xml)
		return parse(virDomainCheckpointGetName(handle), xml, error);
	virt_fail(error, "checkpoint's XML");
	return NULL;
}

static bool list(VirtCall *call, GError **error)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(
		(GDestroyNotify)virt_checkpoint_free);
	virDomainCheckpointPtr *handles;
	bool good = true;
	int count = virDomainListAllCheckpoints(call->domain, &handles, 0);

	if (count < 0)
		return virt_fail(error, "list of checkpoints");
	for (int i = 0; i < count; i++) {
		VirtCheckpoint *checkpoint = good ?
			read_one(handles[i], error) : NULL;

		good = checkpoint;
		if (good)
			g_ptr_array_add(found, checkpoint);
		virDomainCheckpointFree(handles[i]);
	}
	free(handles);
	call->answer = good ? g_steal_pointer(&found) : NULL;
	return good;
}

GPtrArray *virt_checkpoints(VirtHost *host, const char *uuid, GError **error)
{
	const VirtDeed deed = { list,
		.free_answer = (GDestroyNotify)g_ptr_array_unref };
	gpointer found = NULL;

	virt_act(host, uuid, &deed, &found, error);
	return found;
}

static VirtHandle *lookup(VirtDomainHandle *domain, const char *name,
	GError **error)
{
	VirtHandle *handle = virDomainCheckpointLookupByName(domain, name, 0);

	if (!handle)
		virt_fail(error, "checkpoint");
	return handle;
}

/* a is its name. */
static bool find(VirtCall *call, GError **error)
{
	g_autoptr(VirtHandle) handle = lookup(call->domain, call->a, error);

	call->answer = handle ? read_one(handle, error) : NULL;
	return call->answer;
}

VirtCheckpoint *virt_checkpoint_find(VirtHost *host, const char *uuid,
	const char *name, GError **error)
{
	const VirtDeed deed = { find, .a = name,
		.free_answer = (GDestroyNotify)virt_checkpoint_free };
	gpointer found = NULL;

	virt_act(host, uuid, &deed, &found, error);
	return found;
}

/* The XML with another text in its first <description>, which libvirt writes
 * before all that is the domain's. */
static char *replace(const char *xml, const char *description, GError **error)
{
	static const char before[] = "<description>";
	const char *begin = strstr(xml, before);
	const char *end = begin ? strstr(begin, "</description>") : NULL;

	if (!end) {
		fleece_set_error(error, EPROTO,
			"libvirt: checkpoint's XML: no description");
		return NULL;
	}
	begin += strlen(before);
	return g_strdup_printf("%.*s%s%s", (int)(begin - xml), xml,
		description, end);
}

/* What was replaced may have been the domain's. */
static bool check_description(const char *xml, const char *description,
	GError **error)
{
	g_autoptr(VirtCheckpoint) read = parse("", xml, error);

	if (!read)
		return false;
	if (g_str_equal(read->description, description))
		return true;
	fleece_set_error(error, EPROTO,
		"libvirt: checkpoint's XML: no description of its own");
	return false;
}

/* a is its name, b the description. */
static bool describe(VirtCall *call, GError **error)
{
	g_autoptr(VirtHandle) handle = lookup(call->domain, call->a, error);
	g_autoptr(VirtHandle) again = NULL;
	g_autofree char *old = NULL;
	g_autofree char *xml = NULL;

	if (!handle)
		return false;
	old = virt_text_take(virDomainCheckpointGetXMLDesc(handle,
		VIR_DOMAIN_CHECKPOINT_XML_SECURE));
	if (!old)
		return virt_fail(error, "checkpoint's XML");
	xml = replace(old, call->b, error);
	if (!xml || !check_description(xml, call->b, error))
		return false;
	again = virDomainCheckpointCreateXML(call->domain, xml,
		VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE);
	return again || virt_fail(error, "checkpoint-create --redefine");
}

bool virt_checkpoint_describe(VirtHost *host, const char *uuid,
	const char *name, const char *description, GError **error)
{
	const VirtDeed deed = { describe, .a = name, .b = description };

	return virt_act(host, uuid, &deed, NULL, error);
}

/* Where one of its bitmaps is not there. */
static bool forget(VirtHandle *handle, GError *failure, gpointer *answer,
	GError **error)
{
	g_autoptr(GError) owned = failure;

	if (owned->code == ENOTCONN || owned->code == EBUSY) {
		g_propagate_error(error, g_steal_pointer(&owned));
		return false;
	}
	*answer = g_strdup(owned->message);
	return virDomainCheckpointDelete(handle,
		       VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY) == 0 ||
		virt_fail(error, "checkpoint-delete");
}

/*
 * The checkpoint is a; the answer is set where bitmaps stay.  One that is seen
 * may be about to be made: only after that the wait tells.
 */
static bool delete(VirtCall *call, GError **error)
{
	g_autoptr(VirtHandle) seen = lookup(call->domain, call->a, error);
	g_autoptr(VirtHandle) handle = NULL;
	GError *failure = NULL;

	if (!seen || !virt_settle(call->domain, SETTLE_MS, error))
		return false;
	handle = lookup(call->domain, call->a, error);
	if (!handle)
		return false;
	if (virDomainCheckpointDelete(handle, 0) == 0)
		return true;
	virt_fail(&failure, "checkpoint-delete");
	return forget(handle, failure, &call->answer, error);
}

bool virt_checkpoint_delete(VirtHost *host, const char *uuid,
	const char *name, bool *left, GError **error)
{
	const VirtDeed deed = { delete, .a = name };
	g_autofree gpointer answer = NULL;
	bool deleted = virt_act(host, uuid, &deed, &answer, error);

	if (left)
		*left = answer;
	return deleted;
}
