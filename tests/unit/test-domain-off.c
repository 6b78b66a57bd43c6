/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks of a domain can be read while it is off, and how. */
#include "domain-build.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

#define SOURCE "<source file='/a'/>"
#define QCOW2 "<driver type='qcow2'/>"
#define END "<backingStore/>"
#define BELOW(kind, format, inner) "<backingStore type='" kind "'>" \
	"<format type='" format "'/>" inner "</backingStore>"

typedef struct {
	const char *name;
	const char *kind, *xml; /* of the disk */
	const char *expected;   /* "qcow2 /a > raw /b .", '.' is the end; or
				 * what the error says */
	int code;
} OffCase;

static const OffCase cases[] = {
	{ "file", "file", SOURCE, "raw /a" },
	{ "qcow2", "file", QCOW2 SOURCE, "qcow2 /a" },
	{ "block", "block", "<source dev='/dev/a'/>", "raw /dev/a" },
	{ "end", "file", QCOW2 SOURCE END, "qcow2 /a ." },
	{ "below", "file", QCOW2 SOURCE BELOW("file", "qcow2",
		"<source file='/b'/>" BELOW("block", "raw",
			"<source dev='/c'/>" END)),
		"qcow2 /a > qcow2 /b > raw /c ." },

	{ "network", "network", "<source protocol='rbd' name='a'/>",
		"of the type 'network'", EOPNOTSUPP },
	{ "volume", "volume", "<source pool='p' volume='v'/>",
		"of the type 'volume'", EOPNOTSUPP },
	{ "nvme", "nvme", "<source type='pci'/>", "of the type 'nvme'",
		EOPNOTSUPP },
	{ "unknown", "hologram", SOURCE, "of the type 'hologram'",
		EOPNOTSUPP },
	{ "no-path", "file", "<source file=''/>", "of the type 'file'",
		EOPNOTSUPP },
	{ "vmdk", "file", "<driver type='vmdk'/>" SOURCE,
		"its format is 'vmdk'", EOPNOTSUPP },
	{ "encrypted", "file", QCOW2 "<source file='/a'>"
		"<encryption format='luks'/></source>", "with <encryption>",
		EOPNOTSUPP },
	{ "slice", "file", "<source file='/a'><slices/></source>",
		"with <slices>", EOPNOTSUPP },
	{ "network-below", "file", QCOW2 SOURCE BELOW("network", "qcow2",
		"<source protocol='nbd' name='b'/>"), "of the type 'network'",
		EOPNOTSUPP },
	{ "vmdk-below", "file", QCOW2 SOURCE BELOW("file", "vmdk",
		"<source file='/b'/>"), "its format is 'vmdk'", EOPNOTSUPP },
};

static char *describe(const DiskImage *image)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "%s %s", image->format, image->path);
	for (guint i = 0; i < image->backing->len; i++) {
		const DiskImage *layer = image->backing->pdata[i];

		g_string_append_printf(text, " > %s %s", layer->format,
			layer->path);
	}
	if (image->ends)
		g_string_append(text, " .");
	return g_string_free(text, FALSE);
}

static void test_image(gconstpointer data)
{
	const OffCase *this = data;
	g_autofree char *xml = g_strdup_printf("<domain><devices>"
		"<disk type='%s'>%s<target dev='vda'/></disk></devices>"
		"</domain>", this->kind, this->xml);
	g_autoptr(VirtHardware) hardware = virt_hardware_parse(xml, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(DiskImage) image = NULL;
	g_autofree char *text = NULL;

	g_assert_nonnull(hardware);
	image = domain_off_image(hardware->disks->pdata[0], &error);
	g_assert_true(!image == !!this->code);
	if (image) {
		text = describe(image);
		g_assert_cmpstr(image->id, ==, "vda");
		g_assert_cmpstr(text, ==, this->expected);
		return;
	}
	g_assert_error(error, FLEECE_ERROR, this->code);
	g_assert_true(g_str_has_prefix(error->message, "disk vda: "));
	g_assert_nonnull(strstr(error->message, this->expected));
	g_assert_nonnull(strstr(error->message, "disk="));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strconcat("/domain-off/",
			cases[i].name, NULL);

		g_test_add_data_func(path, &cases[i], test_image);
	}
	return g_test_run();
}
