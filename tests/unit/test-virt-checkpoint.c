/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checkpoints that libvirt keeps of a domain. */
#include "virt-checkpoint.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "virt-rig.h"

#define DISKS "<disk type='file'><source file='/a'/><target dev='vda'/>" \
	"<driver name='qemu' type='qcow2'/></disk>" \
	"<disk type='file'><source file='/b'/><target dev='vdb'/></disk>"
#define NOBODY "00000000-0000-4000-8000-000000000000"

static VirtHost *rig(void)
{
	VirtHost *host = virt_rig_new("<description>of the domain"
		"</description>", DISKS);

	virt_rig_add_checkpoint(host, "a", "first &amp; &lt;best&gt;",
		"vda vdb");
	virt_rig_add_checkpoint(host, "b", "second", "vdb");
	virt_rig_add_checkpoint(host, "c", NULL, "vda");
	return host;
}

/* "a 'first' vda vdb" */
static char *describe(const VirtCheckpoint *checkpoint)
{
	GString *text = g_string_new(checkpoint->name);

	g_string_append_printf(text, " '%s'", checkpoint->description);
	for (guint i = 0; i < checkpoint->disks->len; i++)
		g_string_append_printf(text, " %s",
			(const char *)checkpoint->disks->pdata[i]);
	return g_string_free(text, FALSE);
}

static void assert_is(VirtHost *host, const char *name, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(VirtCheckpoint) found = virt_checkpoint_find(host,
		VIRT_RIG_UUID, name, &error);
	g_autofree char *text = NULL;

	g_assert_no_error(error);
	text = describe(found);
	g_assert_cmpstr(text, ==, expected);
}

static void assert_gone(VirtHost *host, const char *uuid, const char *name)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(virt_checkpoint_find(host, uuid, name, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
}

static void test_find(void)
{
	g_autoptr(VirtHost) host = rig();

	assert_is(host, "a", "a 'first & <best>' vda vdb");
	assert_is(host, "b", "b 'second' vdb");
	assert_is(host, "c", "c '' vda");
	assert_gone(host, VIRT_RIG_UUID, "d");
	assert_gone(host, NOBODY, "a");
}

static int by_name(gconstpointer a, gconstpointer b)
{
	const VirtCheckpoint *const *one = a, *const *other = b;

	return strcmp((*one)->name, (*other)->name);
}

static void test_list(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autoptr(VirtHost) bare = virt_rig_new("", DISKS);
	g_autoptr(GPtrArray) all = virt_checkpoints(host, VIRT_RIG_UUID, NULL);
	g_autoptr(GPtrArray) none = virt_checkpoints(bare, VIRT_RIG_UUID,
		NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) text = g_string_new(NULL);

	g_assert_nonnull(none);
	g_assert_cmpuint(none->len, ==, 0);
	g_assert_nonnull(all);
	g_ptr_array_sort(all, by_name);
	for (guint i = 0; i < all->len; i++) {
		g_autofree char *one = describe(all->pdata[i]);

		g_string_append_printf(text, "%s%s", i ? ", " : "", one);
	}
	g_assert_cmpstr(text->str, ==, "a 'first & <best>' vda vdb, "
		"b 'second' vdb, c '' vda");
	g_assert_null(virt_checkpoints(host, NOBODY, &error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
}

static void test_describe(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = NULL;

	g_assert_true(virt_checkpoint_describe(host, VIRT_RIG_UUID, "a",
		"fleecefs committed vda=1:x", &error));
	g_assert_no_error(error);
	assert_is(host, "a", "a 'fleecefs committed vda=1:x' vda vdb");
	assert_is(host, "b", "b 'second' vdb");
	xml = virt_rig_checkpoint_xml(host, "a");
	g_assert_nonnull(strstr(xml, "<description>of the domain"));
	g_assert_false(virt_checkpoint_describe(host, VIRT_RIG_UUID, "d", "x",
		&error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
}

/* It is not the domain's that is replaced then. */
static void test_describe_without_one(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autofree char *before = virt_rig_checkpoint_xml(host, "c");
	g_autofree char *after = NULL;
	g_autoptr(GError) error = NULL;

	g_assert_nonnull(strstr(before, "<description>of the domain"));
	g_assert_false(virt_checkpoint_describe(host, VIRT_RIG_UUID, "c",
		"x", &error));
	g_assert_error(error, FLEECE_ERROR, EPROTO);
	after = virt_rig_checkpoint_xml(host, "c");
	g_assert_cmpstr(before, ==, after);
}

static void test_delete(void)
{
	g_autoptr(VirtHost) host = rig();
	g_autoptr(GError) error = NULL;
	bool left = true;

	g_assert_true(virt_checkpoint_delete(host, VIRT_RIG_UUID, "b", &left,
		&error));
	g_assert_no_error(error);
	g_assert_false(left);
	assert_gone(host, VIRT_RIG_UUID, "b");
	assert_is(host, "a", "a 'first & <best>' vda vdb");
	g_assert_false(virt_checkpoint_delete(host, VIRT_RIG_UUID, "b", &left,
		&error));
	g_assert_error(error, FLEECE_ERROR, ENOENT);
	g_assert_false(left);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virt-checkpoint/find", test_find);
	g_test_add_func("/virt-checkpoint/list", test_list);
	g_test_add_func("/virt-checkpoint/describe", test_describe);
	g_test_add_func("/virt-checkpoint/describe-without-one",
		test_describe_without_one);
	g_test_add_func("/virt-checkpoint/delete", test_delete);
	return g_test_run();
}
