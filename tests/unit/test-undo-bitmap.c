/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Undoing what has to do with bitmaps, against a monitor that plays. */
#include <errno.h>
#include <string.h>

#include "fleece-error.h"
#include "qmp-session.h"
#include "undo-script.h"
#include "undo.h"

#define BUSY(is)                                                               \
	"\"dirty-bitmaps\": [{\"name\": \"b\", \"recording\": true, "          \
	"\"persistent\": false, \"busy\": " is "}]"
#define NODE_WITH(name, ro, more)                                              \
	"{\"node-name\": \"" name "\", \"drv\": \"raw\", \"ro\": " ro ", "     \
	more "}"
#define REMOVE(reply)                                                          \
	{ "block-dirty-bitmap-remove",                                         \
	  "{\"node\": \"n\", \"name\": \"b\"}", reply }

/* Runs a list of one undo; returns how many are left. */
static size_t run(enum undo_kind kind, const ScriptedStep *steps, size_t n,
	GError **error)
{
	g_auto(Session) session = session_start(steps, n);
	g_autoptr(UndoList) list = undo_list_new("web01", NULL);

	undo_list_add(list, kind, "n", "b", NULL, NULL, NULL);
	undo_list_run(list, session.client, error);
	return undo_list_length(list);
}

static void must_work(enum undo_kind kind, const ScriptedStep *steps, size_t n)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpuint(run(kind, steps, n, &error), ==, 0);
	g_assert_no_error(error);
}

#define MUST_WORK(kind, steps) must_work(kind, steps, G_N_ELEMENTS(steps))

/* QEMU aborts where a node is deleted whose bitmap is exported. */
static void test_scratch_in_use(void)
{
	static const ScriptedStep steps[] = {
		NODES(RETURN("[" NODE_WITH("n", "false", BUSY("true")) "]")),
	};
	g_autoptr(GError) error = NULL;

	g_assert_cmpuint(run(UNDO_SCRATCH, steps, 1, &error), ==, 1);
	g_assert_error(error, FLEECE_ERROR, EBUSY);
	g_assert_nonnull(strstr(error->message, "exported"));
}

static void test_scratch(void)
{
	static const ScriptedStep steps[] = {
		NODES(RETURN("[" NODE_WITH("m", "false", BUSY("true")) ", "
			NODE_WITH("n", "false", BUSY("false")) "]")),
		DEL("n", DONE),
	};
	static const ScriptedStep gone[] = {
		NODES(RETURN("[" NODE("m") "]")),
	};

	MUST_WORK(UNDO_SCRATCH, steps);
	MUST_WORK(UNDO_SCRATCH, gone);
}

static void test_bitmap(void)
{
	static const ScriptedStep steps[] = {
		NODES(RETURN("[" NODE_WITH("n", "false", BUSY("false")) "]")),
		REMOVE(DONE),
	};

	MUST_WORK(UNDO_BITMAP, steps);
}

/* Committed, unplugged, or on a layer that cannot be written to any more. */
static void test_bitmap_is_left(void)
{
	static const ScriptedStep committed[] = {
		NODES(RETURN("[" NODE("n") "]")),
	};
	static const ScriptedStep unplugged[] = {
		NODES(RETURN("[" NODE_WITH("m", "false", BUSY("false")) "]")),
	};
	static const ScriptedStep read_only[] = {
		NODES(RETURN("[" NODE_WITH("n", "true", BUSY("false")) "]")),
	};

	MUST_WORK(UNDO_BITMAP, committed);
	MUST_WORK(UNDO_BITMAP, unplugged);
	MUST_WORK(UNDO_BITMAP, read_only);
}

static void test_bitmap_refused(void)
{
	static const ScriptedStep steps[] = {
		NODES(RETURN("[" NODE_WITH("n", "false", BUSY("true")) "]")),
		REMOVE(NO("in use")),
	};
	g_autoptr(GError) error = NULL;

	g_assert_cmpuint(run(UNDO_BITMAP, steps, 2, &error), ==, 1);
	g_assert_nonnull(strstr(error->message, "in use"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/undo-bitmap/scratch-in-use", test_scratch_in_use);
	g_test_add_func("/undo-bitmap/scratch", test_scratch);
	g_test_add_func("/undo-bitmap/bitmap", test_bitmap);
	g_test_add_func("/undo-bitmap/bitmap-is-left", test_bitmap_is_left);
	g_test_add_func("/undo-bitmap/bitmap-refused", test_bitmap_refused);
	return g_test_run();
}
