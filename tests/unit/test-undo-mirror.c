/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The undo list's mirror, which knows of every change before it counts. */
#include "undo.h"

#include <errno.h>

#include "fleece-error.h"
#include "undo-script.h"

#define PATIENT_MS 20000

typedef struct {
	UndoList *list;
	GString *log;
	bool refuse;
} Mirror;

static bool on_added(void *opaque, const Undo *undo, GError **error)
{
	Mirror *mirror = opaque;

	g_string_append_printf(mirror->log, "+%d:%s,%s,%s@%zu ", undo->kind,
		undo->a, undo->b, undo->c, undo_list_length(mirror->list));
	if (mirror->refuse)
		fleece_set_error(error, EPIPE, "no mirror");
	return !mirror->refuse;
}

static void on_dropped(void *opaque, unsigned id)
{
	Mirror *mirror = opaque;

	g_string_append_printf(mirror->log, "-%u@%zu ", id,
		undo_list_length(mirror->list));
}

static void mirror_set_up(Mirror *mirror, gconstpointer unused)
{
	UndoMirror callbacks = { on_added, on_dropped, mirror };

	mirror->log = g_string_new(NULL);
	mirror->list = undo_list_new("web01", &callbacks);
	callbacks = (UndoMirror){ 0 }; /* it was copied */
}

static void mirror_tear_down(Mirror *mirror, gconstpointer unused)
{
	undo_list_free(mirror->list);
	g_string_free(mirror->log, TRUE);
}

/* Each is told before it counts: the lengths are those from before. */
static void test_mirror(Mirror *mirror, gconstpointer unused)
{
	g_autofree char *expected = g_strdup_printf(
		"+%d:a,,@0 +%d:f,dev,node@1 +%d:,,@2 ", UNDO_NODE,
		UNDO_FILTER, UNDO_STOP);
	unsigned first, second, third;

	undo_list_add(mirror->list, UNDO_NODE, "a", NULL, NULL, &first, NULL);
	undo_list_add(mirror->list, UNDO_FILTER, "f", "dev", "node", &second,
		NULL);
	undo_list_add(mirror->list, UNDO_STOP, NULL, NULL, NULL, &third, NULL);
	g_assert_cmpstr(mirror->log->str, ==, expected);
	g_assert_cmpuint(first, <, second);
	g_assert_cmpuint(second, <, third);
	g_string_truncate(mirror->log, 0);
	undo_list_drop(mirror->list, second);
	undo_list_drop(mirror->list, second);
	undo_list_drop(mirror->list, third + 1);
	g_assert_cmpuint(undo_list_length(mirror->list), ==, 2);
	undo_list_drop(mirror->list, first);
	g_free(g_steal_pointer(&expected));
	expected = g_strdup_printf("-%u@3 -%u@2 ", second, first);
	g_assert_cmpstr(mirror->log->str, ==, expected);
}

static void test_mirror_refuses(Mirror *mirror, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;
	unsigned id = 4711;

	mirror->refuse = true;
	g_assert_false(undo_list_add(mirror->list, UNDO_NODE, "a", NULL, NULL,
		&id, &error));
	g_assert_error(error, FLEECE_ERROR, EPIPE);
	g_assert_cmpuint(undo_list_length(mirror->list), ==, 0);
	g_assert_cmpuint(id, ==, 4711);
}

/* What is undone is dropped, one by one; what is refused is not. */
static void test_mirror_of_a_run(Mirror *mirror, gconstpointer unused)
{
	static const ScriptedStep steps[] = {
		CONT, DEL("b", NO("in use")),
		NODES(RETURN("[" NODE("b") "]")), DEL("a", DONE),
	};
	g_autoptr(ScriptedQmp) peer = NULL;
	g_autoptr(QmpClient) client = NULL;
	g_autofree char *expected = NULL;
	unsigned a, b, stop;

	undo_list_add(mirror->list, UNDO_NODE, "a", NULL, NULL, &a, NULL);
	undo_list_add(mirror->list, UNDO_NODE, "b", NULL, NULL, &b, NULL);
	undo_list_add(mirror->list, UNDO_STOP, NULL, NULL, NULL, &stop, NULL);
	g_string_truncate(mirror->log, 0);
	peer = scripted_qmp_new(NULL, steps, G_N_ELEMENTS(steps));
	client = qmp_client_connect(scripted_qmp_path(peer), PATIENT_MS, NULL);
	g_assert_false(undo_list_run(mirror->list, client, NULL));
	g_assert_cmpuint(undo_list_length(mirror->list), ==, 1);
	expected = g_strdup_printf("-%u@3 -%u@2 ", stop, a);
	g_assert_cmpstr(mirror->log->str, ==, expected);
}

static void test_mirror_of_a_gone_qemu(Mirror *mirror, gconstpointer unused)
{
	unsigned a, b;
	g_autofree char *expected = NULL;

	undo_list_add(mirror->list, UNDO_NODE, "a", NULL, NULL, &a, NULL);
	undo_list_add(mirror->list, UNDO_NODE, "b", NULL, NULL, &b, NULL);
	g_string_truncate(mirror->log, 0);
	g_assert_true(undo_list_run_at(mirror->list,
		&(Monitor){ "/nonexistent/qmp" }, PATIENT_MS, NULL));
	expected = g_strdup_printf("-%u@2 -%u@1 ", b, a);
	g_assert_cmpstr(mirror->log->str, ==, expected);
}

static void add_test(const char *path,
	void (*test)(Mirror *, gconstpointer))
{
	g_test_add(path, Mirror, NULL, mirror_set_up, test, mirror_tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	add_test("/undo/mirror/adds", test_mirror);
	add_test("/undo/mirror/refuses", test_mirror_refuses);
	add_test("/undo/mirror/run", test_mirror_of_a_run);
	add_test("/undo/mirror/gone", test_mirror_of_a_gone_qemu);
	return g_test_run();
}
