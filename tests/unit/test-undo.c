/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The undo list, against a monitor that plays a script. */
#include "undo.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fleece-error.h"
#include "qmp-error.h"
#include "undo-script.h"

#define PATIENT_MS 20000
#define SHORT_MS 100

/* --- helpers --- */

static void add(UndoList *list, enum undo_kind kind, const char *a,
	const char *b, const char *c)
{
	g_autoptr(GError) error = NULL;

	undo_list_add(list, kind, a, b, c, NULL, &error);
	g_assert_no_error(error);
}

/* A list that begins as each does: with the owner's note. */
static UndoList *new_list(void)
{
	UndoList *list = undo_list_new("web01", NULL);

	add(list, UNDO_OWNER, "me", NULL, NULL);
	return list;
}

static bool play(UndoList *list, const ScriptedStep *steps, size_t n,
	GError **error)
{
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps, n);
	g_autoptr(QmpClient) client = qmp_client_connect(
		scripted_qmp_path(peer), PATIENT_MS, NULL);

	g_assert_nonnull(client);
	return undo_list_run(list, client, error);
}

static void must_play(UndoList *list, const ScriptedStep *steps, size_t n)
{
	g_autoptr(GError) error = NULL;
	bool done = play(list, steps, n, &error);

	g_assert_no_error(error);
	g_assert_true(done);
	g_assert_cmpuint(undo_list_length(list), ==, 0);
}

#define MUST_PLAY(list, steps) must_play(list, steps, G_N_ELEMENTS(steps))

static void must_fail(UndoList *list, const ScriptedStep *steps, size_t n,
	GQuark domain, int code, const char *words, size_t left)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(play(list, steps, n, &error));
	g_assert_error(error, domain, code);
	if (!strstr(error->message, words) ||
	    !strstr(error->message, "VM web01: "))
		g_error("\"%s\" lacks \"%s\"", error->message, words);
	g_assert_cmpuint(undo_list_length(list), ==, left);
}

#define MUST_FAIL(list, steps, domain, code, words, left)                      \
	must_fail(list, steps, G_N_ELEMENTS(steps), domain, code, words, left)

static char *new_directory(void)
{
	char *path = g_dir_make_tmp("fleecefs-undo-XXXXXX", NULL);
	g_autofree char *socket = g_build_filename(path, "nbd", NULL);

	g_assert_true(g_file_set_contents(socket, "", 0, NULL));
	return path;
}

static void assert_gone(const char *path)
{
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void add_one_of_each(UndoList *list, const char *directory)
{
	add(list, UNDO_DIRECTORY, directory, NULL, NULL);
	add(list, UNDO_FDSET, "fleecefs:me:", NULL, NULL);
	add(list, UNDO_NODE, "scratch", NULL, NULL);
	add(list, UNDO_FILTER, "filter", "vd0", "disk");
	add(list, UNDO_JOB, "job", NULL, NULL);
	add(list, UNDO_SERVER, NULL, NULL, NULL);
	add(list, UNDO_MONITOR_FD, "socket", NULL, NULL);
	add(list, UNDO_EXPORT, "export", NULL, NULL);
}

/* --- order --- */

static void test_each_kind_in_reverse(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS,
		EXPORT_DEL("export", DONE),
		EXPORTS(RETURN("[" EXPORT("export") "]")),
		EXPORTS(NONE),
		CLOSEFD("socket", DONE),
		EXPORTS(NONE),
		SERVER_STOP(DONE),
		CANCEL("job", DONE),
		JOBS(NONE),
		BLOCKS("filter"),
		CHILD_IS("overlay"),
		SET_DRIVE("overlay", DONE),
		DEL("scratch", DONE),
		FDSETS(RETURN("[{\"fdset-id\": 1, \"fds\": [{\"fd\": 5, "
			"\"opaque\": \"fleecefs:you:0\"}]}, {\"fdset-id\": 2, "
			"\"fds\": [{\"fd\": 6, \"opaque\": "
			"\"fleecefs:me:0\"}]}]")),
		{ "remove-fd", "{\"fdset-id\": 2}", DONE },
		OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();
	g_autofree char *directory = new_directory();

	add_one_of_each(list, directory);
	MUST_PLAY(list, steps);
	assert_gone(directory);
}

static void test_the_guest_first(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS, CONT, DEL("c", DONE), DEL("b", DONE),
		DEL("a", DONE), OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_NODE, "a", NULL, NULL);
	add(list, UNDO_STOP, NULL, NULL, NULL);
	add(list, UNDO_NODE, "b", NULL, NULL);
	add(list, UNDO_NODE, "c", NULL, NULL);
	MUST_PLAY(list, steps);
}

/* --- what goes wrong --- */

/* It goes on, keeps what was refused, and the note with it. */
static void test_refusal(void)
{
	static const ScriptedStep first[] = {
		OWNER_STAYS, CONT, DEL("c", DONE),
		DEL("b", NO("Node b is in use")),
		NODES(RETURN("[" NODE("a") ", " NODE("b") "]")),
		DEL("a", DONE),
	};
	static const ScriptedStep second[] = { DEL("b", DONE), OWNER_GOES };
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_NODE, "a", NULL, NULL);
	add(list, UNDO_NODE, "b", NULL, NULL);
	add(list, UNDO_NODE, "c", NULL, NULL);
	add(list, UNDO_STOP, NULL, NULL, NULL);
	MUST_FAIL(list, first, QMP_ERROR, QMP_ERROR_GENERIC,
		"Node b is in use", 2);
	MUST_PLAY(list, second);
}

/* The error is that of the first refusal, and all are kept. */
static void test_two_refusals(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS, { "cont", NULL, NO("not now") },
		DEL("b", NO("b is in use")),
		NODES(RETURN("[" NODE("b") "]")),
		DEL("a", DONE),
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_NODE, "a", NULL, NULL);
	add(list, UNDO_NODE, "b", NULL, NULL);
	add(list, UNDO_STOP, NULL, NULL, NULL);
	MUST_FAIL(list, steps, QMP_ERROR, QMP_ERROR_GENERIC, "not now", 3);
}

/* The rest waits for another connection. */
static void test_connection_lost(void)
{
	static const ScriptedStep first[] = {
		DEL("c", DONE),
		{ .command = "blockdev-del", .hang_up = true },
	};
	static const ScriptedStep second[] = {
		DEL("b", DONE), DEL("a", DONE), OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_NODE, "a", NULL, NULL);
	add(list, UNDO_NODE, "b", NULL, NULL);
	add(list, UNDO_NODE, "c", NULL, NULL);
	MUST_FAIL(list, first, FLEECE_ERROR, ECONNRESET, "blockdev-del", 3);
	MUST_PLAY(list, second);
}

static void test_already_gone(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS,
		EXPORT_DEL("export", NO("Export 'export' is not found")),
		EXPORTS(RETURN("[" EXPORT("other") "]")),
		CLOSEFD("socket", NO("File descriptor not found")),
		EXPORTS(NONE),
		SERVER_STOP(NO("NBD server not running")),
		CANCEL("job", REFUSE("DeviceNotActive", "No job")),
		BLOCKS("disk"), NO_CHILD,
		DEL("scratch", NO("Failed to find node")),
		NODES(RETURN("[" NODE("scratch2") "]")),
		FDSETS(NONE),
		OBJECTS(NONE),
	};
	g_autoptr(UndoList) list = new_list();

	add_one_of_each(list, "/nonexistent/directory");
	MUST_PLAY(list, steps);
}

static void test_device_gone(void)
{
	static const ScriptedStep steps[] = {
		BLOCKS("filter"), CHILD_IS("disk"),
		SET_DRIVE("disk", REFUSE("DeviceNotFound", "no vd0")),
		OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_FILTER, "filter", "vd0", "disk");
	MUST_PLAY(list, steps);
}

/* --- kinds with a life of their own --- */

/* Where the graph cannot be asked, what was under it at first. */
static void test_filter_without_a_graph(void)
{
	static const ScriptedStep steps[] = {
		BLOCKS("filter"), GRAPH(REFUSE("CommandNotFound", "gone")),
		SET_DRIVE("disk", DONE), OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_FILTER, "filter", "vd0", "disk");
	MUST_PLAY(list, steps);
}

/* Where nothing is known, nothing is done: it is not "already gone". */
static void test_filter_over_the_unknown(void)
{
	static const ScriptedStep refused[] = {
		BLOCKS("filter"), GRAPH(REFUSE("CommandNotFound", "removed")),
	};
	static const ScriptedStep childless[] = {
		BLOCKS("filter"), NO_CHILD, DEL("older", DONE),
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_FILTER, "filter", NULL, NULL);
	MUST_FAIL(list, refused, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
		"removed", 2);
	g_clear_pointer(&list, undo_list_free);
	list = new_list();
	add(list, UNDO_NODE, "older", NULL, NULL);
	add(list, UNDO_FILTER, "filter", NULL, NULL);
	MUST_FAIL(list, childless, FLEECE_ERROR, EPROTO, "no child", 2);
}

static void test_filter_in_use(void)
{
	static const ScriptedStep steps[] = {
		BLOCKS("filter"), CHILD_IS("disk"),
		SET_DRIVE("disk", NO("Permission conflict")),
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_FILTER, "filter", "vd0", "disk");
	MUST_FAIL(list, steps, QMP_ERROR, QMP_ERROR_GENERIC,
		"Permission conflict", 2);
}

/* A job of others that was begun on the filter stands between it and the
 * device, and goes when it has ended. */
static void test_filter_below_another(void)
{
	static const ScriptedStep covered[] = {
		BLOCKS("theirs"),
		GRAPH(RETURN("{\"nodes\": [" VERTEX("1", "theirs") ", "
			VERTEX("2", "filter") "], \"edges\": [{\"parent\": 1, "
			"\"child\": 2, \"name\": \"file\"}]}")),
	};
	static const ScriptedStep bare[] = {
		BLOCKS("filter"), CHILD_IS("disk"), SET_DRIVE("disk", DONE),
		OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_FILTER, "filter", "vd0", "disk");
	MUST_FAIL(list, covered, FLEECE_ERROR, EBUSY, "theirs", 2);
	MUST_PLAY(list, bare);
}

/* Other people's exports keep the server. */
static void test_server_in_use(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS, EXPORTS(RETURN("[" EXPORT("theirs") "]")),
		DEL("older", DONE),
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_NODE, "older", NULL, NULL);
	add(list, UNDO_SERVER, NULL, NULL, NULL);
	MUST_FAIL(list, steps, FLEECE_ERROR, EBUSY, "theirs", 2);
}

/* Whoever has an access now, it is not ours. */
static void test_access_of_others(void)
{
	static const ScriptedStep steps[] = {
		TEAR_DOWN(NO("cannot teardown backup access - got target "
			     "fleecefs-me instead of theirs")),
		OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_ACCESS, "fleecefs-me", NULL, NULL);
	MUST_PLAY(list, steps);
}

/* It is kept, and the scratch, which QEMU says is in use, with it. */
static void test_access_stays(void)
{
	static const ScriptedStep refused[] = {
		TEAR_DOWN(NO("not now")),
		NODES(RETURN("[" FILE_NODE("raw", "drive-scsi0-fleecing") ", "
			FILE_NODE("file", "fl-me-s0") "]")),
		DEL("drive-scsi0-fleecing", NO("in use")),
		NODES(RETURN("[" NODE("drive-scsi0-fleecing") "]")),
	};
	static const ScriptedStep done[] = {
		TEAR_DOWN(DONE),
		NODES(RETURN("[" FILE_NODE("raw", "drive-scsi0-fleecing") ", "
			FILE_NODE("file", "fl-me-s0") "]")),
		DEL("drive-scsi0-fleecing", DONE), OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_SCRATCH, "fl-me-s0", NULL, NULL);
	add(list, UNDO_ACCESS, "fleecefs-me", NULL, NULL);
	MUST_FAIL(list, refused, QMP_ERROR, QMP_ERROR_GENERIC, "not now", 3);
	MUST_PLAY(list, done);
}

/* One of that name that somebody else has made is over another file. */
static void test_scratch_of_others(void)
{
	static const ScriptedStep steps[] = {
		NODES(RETURN("[{\"node-name\": \"drive-scsi0-fleecing\", "
			"\"drv\": \"raw\", \"ro\": false, "
			"\"file\": \"/images/vm-100-fleece-0.raw\"}]")),
		OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_SCRATCH, "fl-me-s0", NULL, NULL);
	MUST_PLAY(list, steps);
}

/* Only "not running" is what we want. */
static void test_server_does_not_stop(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS, EXPORTS(NONE),
		SERVER_STOP(NO("permission denied")),
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_SERVER, NULL, NULL, NULL);
	MUST_FAIL(list, steps, QMP_ERROR, QMP_ERROR_GENERIC,
		"permission denied", 2);
}

/* Somebody has recovered the VM: what stands still now, and the server that
 * runs now, are not ours. */
static void check_recovered(const ScriptedStep *steps, size_t n)
{
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_SERVER, NULL, NULL, NULL);
	add(list, UNDO_NODE, "a", NULL, NULL);
	add(list, UNDO_STOP, NULL, NULL, NULL);
	must_play(list, steps, n);
}

static void test_recovered_by_others(void)
{
	static const ScriptedStep free_again[] = {
		OBJECTS(NONE), DEL("a", DONE), OBJECTS(NONE),
	};
	static const ScriptedStep theirs_now[] = {
		OBJECTS(OWNER_LISTED), IDENTITY("you"), DEL("a", DONE),
		OBJECTS(OWNER_LISTED), IDENTITY("you"),
	};

	check_recovered(free_again, G_N_ELEMENTS(free_again));
	check_recovered(theirs_now, G_N_ELEMENTS(theirs_now));
}

/* Rather a guest that runs too early than one that stands still for ever. */
static void test_the_guest_runs_when_in_doubt(void)
{
	static const ScriptedStep steps[] = {
		OBJECTS(NO("not now")), CONT, OWNER_GOES,
	};
	g_autoptr(UndoList) list = new_list();

	add(list, UNDO_STOP, NULL, NULL, NULL);
	MUST_PLAY(list, steps);
}

static void test_note_of_others(void)
{
	static const ScriptedStep steps[] = {
		OBJECTS(OWNER_LISTED), IDENTITY("you"),
	};
	g_autoptr(UndoList) list = new_list();

	MUST_PLAY(list, steps);
}

static void test_note_of_a_stranger(void)
{
	static const ScriptedStep steps[] = {
		OBJECTS(OWNER_LISTED), { "qom-get", NULL, RETURN("\"x\"") },
	};
	g_autoptr(UndoList) list = new_list();

	MUST_PLAY(list, steps);
}

static void test_note_that_cannot_be_read(void)
{
	static const ScriptedStep steps[] = { OBJECTS(NO("not now")) };
	g_autoptr(UndoList) list = new_list();

	MUST_FAIL(list, steps, QMP_ERROR, QMP_ERROR_GENERIC, "not now", 1);
}

/* --- run_at --- */

static void test_run_at(void)
{
	static const ScriptedStep steps[] = { DEL("a", DONE), OWNER_GOES };
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps,
		G_N_ELEMENTS(steps));
	g_autoptr(UndoList) list = new_list();
	g_autoptr(GError) error = NULL;

	add(list, UNDO_NODE, "a", NULL, NULL);
	g_assert_true(undo_list_run_at(list,
		&(Monitor){ scripted_qmp_path(peer) }, PATIENT_MS, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(undo_list_length(list), ==, 0);
}

/* Nothing to do is done without QEMU. */
static void test_run_at_of_an_empty_list(void)
{
	g_autoptr(UndoList) list = undo_list_new("web01", NULL);

	g_assert_true(undo_list_run_at(list, &(Monitor){ "/dev/null" },
		SHORT_MS, NULL));
}

static void test_silent_qemu(void)
{
	static const ScriptedStep steps[] = {
		OWNER_STAYS, { .command = "cont", .stall = true },
	};
	g_autoptr(ScriptedQmp) peer = scripted_qmp_new(NULL, steps,
		G_N_ELEMENTS(steps));
	g_autoptr(UndoList) list = new_list();
	g_autoptr(GError) error = NULL;

	add(list, UNDO_STOP, NULL, NULL, NULL);
	g_assert_false(undo_list_run_at(list,
		&(Monitor){ scripted_qmp_path(peer) }, SHORT_MS, &error));
	g_assert_error(error, FLEECE_ERROR, ETIMEDOUT);
	g_assert_cmpuint(undo_list_length(list), ==, 2);
}

/* What is outside of QEMU goes all the same. */
static void assert_gone_qemu(const char *qmp)
{
	g_autoptr(UndoList) list = new_list();
	g_autofree char *directory = new_directory();
	g_autoptr(GError) error = NULL;

	add_one_of_each(list, directory);
	add(list, UNDO_STOP, NULL, NULL, NULL);
	g_assert_true(undo_list_run_at(list, &(Monitor){ qmp }, SHORT_MS,
		&error));
	g_assert_no_error(error);
	g_assert_cmpuint(undo_list_length(list), ==, 0);
	assert_gone(directory);
}

static void test_gone_qemu(void)
{
	g_autofree char *folder = g_dir_make_tmp("fleecefs-undo-XXXXXX", NULL);
	g_autofree char *file = g_build_filename(folder, "qmp", NULL);

	assert_gone_qemu(file);
	/* a file that nobody listens at: ECONNREFUSED */
	g_assert_true(g_file_set_contents(file, "", 0, NULL));
	assert_gone_qemu(file);
	g_unlink(file);
	g_rmdir(folder);
}

/* --- over libvirt --- */

typedef struct {
	bool busy;     /* the job cannot be told to end */
	GString *seen; /* the kinds that came, in order */
} Libvirt;

static bool undo_at(void *opaque, const Undo *undo, bool *lost, GError **error)
{
	Libvirt *libvirt = opaque;

	g_string_append_printf(libvirt->seen, "%u ", undo->kind);
	if (undo->kind != UNDO_BACKUP || !libvirt->busy)
		return true;
	fleece_set_error(error, EBUSY, "it is being begun");
	return false;
}

/* What was made for a job stays until the job is known to be gone. */
static void test_job_that_may_come(void)
{
	g_autoptr(UndoList) list = undo_list_new("web01", NULL);
	g_autoptr(GString) seen = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *once = g_strdup_printf("%u ", UNDO_BACKUP);
	g_autofree char *all = g_strdup_printf("%u %u %u %u ", UNDO_BACKUP,
		UNDO_BACKUP, UNDO_FILE, UNDO_DIRECTORY);
	Libvirt libvirt = { true, seen };

	add(list, UNDO_DIRECTORY, "/nonexistent/directory", NULL, NULL);
	add(list, UNDO_FILE, "/nonexistent/scratch", NULL, NULL);
	add(list, UNDO_BACKUP, "uuid", "me", NULL);
	g_assert_false(undo_list_run_with(list, undo_at, &libvirt, &error));
	g_assert_error(error, FLEECE_ERROR, EBUSY);
	g_assert_cmpstr(seen->str, ==, once);
	g_assert_cmpuint(undo_list_length(list), ==, 3);
	g_clear_error(&error);
	libvirt.busy = false;
	g_assert_true(undo_list_run_with(list, undo_at, &libvirt, &error));
	g_assert_no_error(error);
	g_assert_cmpstr(seen->str, ==, all);
	g_assert_cmpuint(undo_list_length(list), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/undo/reverse", test_each_kind_in_reverse);
	g_test_add_func("/undo/guest-first", test_the_guest_first);
	g_test_add_func("/undo/refusal", test_refusal);
	g_test_add_func("/undo/two-refusals", test_two_refusals);
	g_test_add_func("/undo/connection-lost", test_connection_lost);
	g_test_add_func("/undo/already-gone", test_already_gone);
	g_test_add_func("/undo/device-gone", test_device_gone);
	g_test_add_func("/undo/filter/no-graph", test_filter_without_a_graph);
	g_test_add_func("/undo/filter/unknown", test_filter_over_the_unknown);
	g_test_add_func("/undo/filter/in-use", test_filter_in_use);
	g_test_add_func("/undo/filter/covered", test_filter_below_another);
	g_test_add_func("/undo/access-of-others", test_access_of_others);
	g_test_add_func("/undo/access-stays", test_access_stays);
	g_test_add_func("/undo/scratch-of-others", test_scratch_of_others);
	g_test_add_func("/undo/server/in-use", test_server_in_use);
	g_test_add_func("/undo/server/stays", test_server_does_not_stop);
	g_test_add_func("/undo/recovered", test_recovered_by_others);
	g_test_add_func("/undo/in-doubt",
		test_the_guest_runs_when_in_doubt);
	g_test_add_func("/undo/note/of-others", test_note_of_others);
	g_test_add_func("/undo/note/stranger", test_note_of_a_stranger);
	g_test_add_func("/undo/note/unreadable",
		test_note_that_cannot_be_read);
	g_test_add_func("/undo/at/all", test_run_at);
	g_test_add_func("/undo/at/empty", test_run_at_of_an_empty_list);
	g_test_add_func("/undo/at/silent", test_silent_qemu);
	g_test_add_func("/undo/at/gone", test_gone_qemu);
	g_test_add_func("/undo/job-that-may-come", test_job_that_may_come);
	return g_test_run();
}
