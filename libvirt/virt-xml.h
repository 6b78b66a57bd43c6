/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virt-xml.h - walks through XML of libvirt's, element by element */
#pragma once

#include <stdbool.h>

#include <glib.h>

typedef struct {
	const char *name;
	const char *path;   /* "/domain/devices/disk" */
	const char *parent; /* the same without the last name */
	const char **names, **values; /* attributes, end with NULL */
} VirtElement;

/* The value of an attribute; NULL where there is none. */
const char *virt_element_get(const VirtElement *element, const char *name);

typedef void VirtElementVisit(void *opaque, const VirtElement *element);
typedef void VirtTextVisit(void *opaque, const char *path, const char *text);

/*
 * Calls element for each at its beginning, and text for the text directly in
 * each, which comes in pieces where a comment or another element is in it.
 * Either may be NULL.  Entities that a document declares itself are refused,
 * and nothing outside it is read.  EPROTO for what is no XML, or has another
 * root.
 */
bool virt_xml_walk(const char *xml, const char *root,
	VirtElementVisit *element, VirtTextVisit *text, void *opaque,
	GError **error);
