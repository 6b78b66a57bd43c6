/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a walk through XML visits, and what it refuses. */
#include "virt-xml.h"

#include <errno.h>
#include <string.h>

#include <glib/gstdio.h>

#include "fleece-error.h"

/* --- a walk as a text: "/r(a=1) /r:text /r/b" --- */

static void add_element(void *opaque, const VirtElement *element)
{
	g_autofree char *path = g_strconcat(element->parent, "/",
		element->name, NULL);
	GString *seen = opaque;

	g_assert_cmpstr(element->path, ==, path);
	g_string_append_printf(seen, "%s%s", seen->len ? " " : "", path);
	for (unsigned i = 0; element->names[i]; i++)
		g_string_append_printf(seen, "(%s=%s)", element->names[i],
			element->values[i]);
}

static void add_text(void *opaque, const char *path, const char *text)
{
	g_string_append_printf(opaque, " %s:%s", path, text);
}

/* NULL where it is refused. */
static char *walk(const char *xml, GError **error)
{
	GString *seen = g_string_new(NULL);
	bool good = virt_xml_walk(xml, "r", add_element, add_text, seen,
		error);

	return g_string_free(seen, !good);
}

static void check(const char *xml, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *seen = walk(xml, &error);

	g_assert_no_error(error);
	g_assert_cmpstr(seen, ==, expected);
}

static void check_refused(const char *xml)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *seen = walk(xml, &error);

	if (seen)
		g_error("'%s' is taken as '%s'", xml, seen);
	g_assert_error(error, FLEECE_ERROR, EPROTO);
	g_assert_true(g_str_has_prefix(error->message,
		"libvirt: XML of a r: "));
	g_assert_null(walk(xml, NULL));
}

/* --- what is visited --- */

static const struct {
	const char *name, *xml, *expected;
} cases[] = {
	{ "empty", "<r/>", "/r" },
	{ "pair", "<r></r>", "/r" },
	{ "spaces", " \n<r />\n ", "/r" },
	{ "attributes", "<r a='1' b=\"2\" c=''/>", "/r(a=1)(b=2)(c=)" },
	{ "nested", "<r><a><b/></a><b/></r>", "/r /r/a /r/a/b /r/b" },
	{ "root-within", "<r><r/></r>", "/r /r/r" },
	{ "same-beginning", "<r><a/><ab/></r>", "/r /r/a /r/ab" },
	{ "text", "<r>one<a>two</a>three</r>",
		"/r /r:one /r/a /r/a:two /r:three" },
	{ "entities", "<r a='&lt;&#65;&amp;&#x42;&apos;'>&gt;&quot;</r>",
		"/r(a=<A&B') /r:>\"" },
	{ "not-twice", "<r>&amp;lt;</r>", "/r /r:&lt;" },
	{ "utf8", "<r a='\xc3\xbc\xe2\x82\xac'/>",
		"/r(a=\xc3\xbc\xe2\x82\xac)" },
	{ "prefix", "<r xmlns:q='u'><q:a/></r>", "/r(xmlns:q=u) /r/q:a" },
	{ "head", "<?xml version='1.0'?><!--<a/>--><!DOCTYPE r><r/>", "/r" },
	{ "comment", "<r><!-- <a> & --><b/></r>", "/r /r/b" },
	{ "behind", "<r/><!-- <r> --><?a?>", "/r" },
};

static void test_walk(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("%s", cases[i].name);
		check(cases[i].xml, cases[i].expected);
	}
}

/* Who wants only the one gets only that. */
static void test_only_one(void)
{
	g_autoptr(GString) seen = g_string_new(NULL);

	g_assert_true(virt_xml_walk("<r>a<b>c</b></r>", "r", add_element, NULL,
		seen, NULL));
	g_assert_cmpstr(seen->str, ==, "/r /r/b");
	g_string_truncate(seen, 0);
	g_assert_true(virt_xml_walk("<r>a<b>c</b></r>", "r", NULL, add_text,
		seen, NULL));
	g_assert_cmpstr(seen->str, ==, " /r:a /r/b:c");
}

static void get(void *opaque, const VirtElement *element)
{
	g_assert_cmpstr(virt_element_get(element, "a"), ==, "1");
	g_assert_cmpstr(virt_element_get(element, "empty"), ==, "");
	g_assert_null(virt_element_get(element, "A"));
	g_assert_null(virt_element_get(element, ""));
	g_assert_null(virt_element_get(element, "nothing"));
	++*(unsigned *)opaque;
}

static void test_get(void)
{
	unsigned visits = 0;

	g_assert_true(virt_xml_walk("<r a='1' empty=''/>", "r", get, NULL,
		&visits, NULL));
	g_assert_cmpuint(visits, ==, 1);
}

/* --- what is refused --- */

static const char *const refused[] = {
	"", " ", "r", "<", "<r", "<r>", "</r>", "<r/", "<r></s>", "<r></r></r>",
	"<r><a></r></a>", "<s/>", "<s><r/></s>", "<R/>", "<r:r/>",
	"<r/><r/>", "<r/><s/>", "<r></r><r></r>", "<r/>text", "text<r/>",
	"<?xml version='1.0'?>", "<!-- <r/> -->", "<!DOCTYPE r>",
	"<r a/>", "<r a=1/>", "<r a='1/>",
	"<r>&</r>", "<r>&;</r>", "<r>&nope;</r>", "<r>&#0;</r>",
	"<r>&#xd800;</r>", "<r>&#x110000;</r>", "<r>&#a;</r>", "<r a='&'/>",
	"<r>\xff</r>", "<r a='\xc3'/>", "<\xff/>", "<r>\xc0\x80</r>",
	"<r><!-- </r>", "<r><![CDATA[</r>", "<r><?a</r>",
};

static void test_refused(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++)
		check_refused(refused[i]);
}

/* Whatever is missing at its end. */
static void test_truncated(void)
{
	static const char whole[] = "<?xml version='1.0'?><!DOCTYPE r>"
		"<r a='&lt;'><!-- c --><b c='d'>text&amp;\xc3\xbc</b>"
		"<![CDATA[x]]><e/></r>";

	check(whole, "/r(a=<) /r/b(c=d) /r/b:text&\xc3\xbc /r/e");
	for (size_t length = 0; length < strlen(whole); length++) {
		g_autofree char *part = g_strndup(whole, length);

		check_refused(part);
	}
}

/* An entity is never what its declaration says: neither a file's content nor
 * a text that grows. */
static void test_declared_entities(void)
{
	g_autofree char *path = NULL;
	g_autofree char *external = NULL;
	int fd = g_file_open_tmp("fleecefs-XXXXXX", &path, NULL);

	g_assert_cmpint(fd, >=, 0);
	g_assert_true(g_close(fd, NULL));
	g_assert_true(g_file_set_contents(path, "secret", -1, NULL));
	external = g_strdup_printf("<!DOCTYPE r [<!ENTITY e SYSTEM 'file://%s'>"
		"]><r>&e;</r>", path);
	check_refused(external);
	check_refused("<!DOCTYPE r [<!ENTITY a 'b'>]><r>&a;</r>");
	check_refused("<!DOCTYPE r [<!ENTITY a 'b'>]><r c='&a;'/>");
	check_refused("<!DOCTYPE r [<!ENTITY amp 'b'><!ENTITY a '&amp;&amp;'>"
		"]><r>&a;&a;</r>");
	check("<!DOCTYPE r [<!ENTITY amp 'b'>]><r>&amp;</r>", "/r /r:&");
	g_unlink(path);
}

static char *repeat(const char *before, const char *text, unsigned times,
	const char *after)
{
	GString *all = g_string_new(before);

	while (times--)
		g_string_append(all, text);
	g_string_append(all, after);
	return g_string_free(all, FALSE);
}

static void count(void *opaque, const VirtElement *element)
{
	++*(unsigned *)opaque;
}

static void test_huge(void)
{
	enum { WIDE = 100000, DEEP = 2000 };
	g_autofree char *wide = repeat("<r>", "<a b='c'/>", WIDE, "</r>");
	g_autofree char *begins = repeat("<r>", "<a>", DEEP, "");
	g_autofree char *deep = repeat(begins, "</a>", DEEP, "</r>");
	g_autofree char *value = repeat("<r a='", "&lt;", WIDE, "'/>");
	unsigned visits = 0;

	g_assert_true(virt_xml_walk(wide, "r", count, NULL, &visits, NULL));
	g_assert_cmpuint(visits, ==, WIDE + 1);
	visits = 0;
	g_assert_true(virt_xml_walk(deep, "r", count, NULL, &visits, NULL));
	g_assert_cmpuint(visits, ==, DEEP + 1);
	visits = 0;
	g_assert_true(virt_xml_walk(value, "r", count, NULL, &visits, NULL));
	g_assert_cmpuint(visits, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virt-xml/walk", test_walk);
	g_test_add_func("/virt-xml/only-one", test_only_one);
	g_test_add_func("/virt-xml/get", test_get);
	g_test_add_func("/virt-xml/refused", test_refused);
	g_test_add_func("/virt-xml/truncated", test_truncated);
	g_test_add_func("/virt-xml/declared-entities", test_declared_entities);
	g_test_add_func("/virt-xml/huge", test_huge);
	return g_test_run();
}
