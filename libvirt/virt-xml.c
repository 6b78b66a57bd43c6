/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-xml.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

typedef struct {
	VirtElementVisit *element;
	VirtTextVisit *text;
	void *opaque;
	GString *path;
	const char *root;
	bool begun; /* the root was there */
} Walk;

const char *virt_element_get(const VirtElement *element, const char *name)
{
	for (unsigned i = 0; element->names[i]; i++) {
		if (g_str_equal(element->names[i], name))
			return element->values[i];
	}
	return NULL;
}

/* GMarkup would take any element, and several. */
static bool check_root(Walk *walk, const char *name, GError **error)
{
	bool first = !walk->begun;

	walk->begun = true;
	if (first && g_str_equal(name, walk->root))
		return true;
	g_set_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_UNKNOWN_ELEMENT,
		first ? "<%s>, not <%s>" : "<%s> behind the end of <%s>", name,
		walk->root);
	return false;
}

static void begin(GMarkupParseContext *context, const char *name,
	const char **names, const char **values, gpointer data, GError **error)
{
	Walk *walk = data;
	g_autofree char *parent = g_strdup(walk->path->str);
	VirtElement element = { .name = name, .parent = parent,
		.names = names, .values = values };

	if (!walk->path->len && !check_root(walk, name, error))
		return;
	g_string_append_printf(walk->path, "/%s", name);
	element.path = walk->path->str;
	if (walk->element)
		walk->element(walk->opaque, &element);
}

static void end(GMarkupParseContext *context, const char *name, gpointer data,
	GError **error)
{
	Walk *walk = data;

	g_string_truncate(walk->path, walk->path->len - strlen(name) - 1);
}

static void take_text(GMarkupParseContext *context, const char *text,
	gsize length, gpointer data, GError **error)
{
	Walk *walk = data;
	g_autofree char *copy = g_strndup(text, length);

	if (walk->text && length)
		walk->text(walk->opaque, walk->path->str, copy);
}

bool virt_xml_walk(const char *xml, const char *root,
	VirtElementVisit *element, VirtTextVisit *text, void *opaque,
	GError **error)
{
	static const GMarkupParser parser = { begin, end, take_text };
	g_autoptr(GString) path = g_string_new(NULL);
	Walk walk = { element, text, opaque, path, root };
	g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(
		&parser, 0, &walk, NULL);
	g_autoptr(GError) failure = NULL;

	if (g_markup_parse_context_parse(context, xml, -1, &failure) &&
	    g_markup_parse_context_end_parse(context, &failure) && walk.begun)
		return true;
	fleece_set_error(error, EPROTO, "libvirt: XML of a %s: %s", root,
		failure ? failure->message : "there is no element");
	return false;
}
