/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guardian: a real process behind a daemon that is one, too. */
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fleece-error.h"
#include "scripted-qmp.h"

#define PATIENT_MS 20000
/* A test that takes longer is dead. */
#define PATIENCE_S 60
#define LISTS 100
#define NOBODY "/nonexistent/qmp"

#define CONT { "cont", NULL, RETURN("{}") }
#define DEL(node)                                                              \
	{ "blockdev-del", "{\"node-name\": \"" node "\"}", RETURN("{}") }

/* What the daemon does before it waits for its end. */
typedef void Life(Guardian *guardian, const char *qmp);

typedef struct {
	ScriptedQmp *peer;
	pid_t daemon;
	gint64 began; /* monotonic time, just before Life */
} Scene;

static UndoList *new_list(Guardian *guardian, const char *qmp)
{
	g_autoptr(GError) error = NULL;
	UndoList *list = guardian_undo_list(guardian, "web01",
		&(Monitor){ qmp }, PATIENT_MS, &error);

	g_assert_no_error(error);
	return list;
}

static unsigned add(UndoList *list, enum undo_kind kind, const char *a)
{
	g_autoptr(GError) error = NULL;
	unsigned id;

	undo_list_add(list, kind, a, NULL, NULL, &id, &error);
	g_assert_no_error(error);
	return id;
}

static void open_window(Guardian *guardian, UndoList *list, unsigned undo,
	unsigned limit_ms)
{
	g_autoptr(GError) error = NULL;

	guardian_window_open(guardian, list, undo, limit_ms, &error);
	g_assert_no_error(error);
}

/* --- the scene --- */

/* Is told the monitor's path; says, when it has lived, when it began. */
static _Noreturn void be_daemon(Life *life, int parent)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char qmp[256] = "";
	Guardian *guardian;
	gint64 began;

	/* what it logs is no failure of the test */
	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	dup2(null, STDERR_FILENO);
	guardian = guardian_start(true, false, NULL);
	g_assert_nonnull(guardian);
	g_assert_cmpint(recv(parent, qmp, sizeof(qmp), 0), >, 0);
	began = g_get_monotonic_time();
	life(guardian, qmp);
	g_assert_cmpint(send(parent, &began, sizeof(began), 0), ==,
		sizeof(began));
	for (;;)
		pause();
}

/* The monitor has a thread, and so comes after the fork. */
static void start_monitor(Scene *s, const ScriptedStep *steps, size_t n,
	int daemon)
{
	const char *path = NOBODY;

	if (n) {
		s->peer = scripted_qmp_new(NULL, steps, n);
		path = scripted_qmp_path(s->peer);
	}
	g_assert_cmpint(send(daemon, path, strlen(path) + 1, 0), >, 0);
	g_assert_cmpint(recv(daemon, &s->began, sizeof(s->began), 0), ==,
		sizeof(s->began));
}

static Scene scene(Life *life, const ScriptedStep *steps, size_t n)
{
	Scene s = { 0 };
	int pair[2];

	alarm(PATIENCE_S);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
		pair), ==, 0);
	s.daemon = fork();
	g_assert_cmpint(s.daemon, >=, 0);
	if (s.daemon == 0)
		be_daemon(life, pair[1]);
	close(pair[1]);
	start_monitor(&s, steps, n, pair[0]);
	close(pair[0]);
	return s;
}

/* The daemon is killed by whoever does it, the script played to its end, and
 * the guardian, which is ours to wait for then, ends well. */
static void finish(Scene *s)
{
	int status;

	g_assert_cmpint(waitpid(s->daemon, &status, 0), ==, s->daemon);
	g_assert_true(WIFSIGNALED(status));
	g_assert_cmpint(WTERMSIG(status), ==, SIGKILL);
	g_clear_pointer(&s->peer, scripted_qmp_free);
	g_assert_cmpint(wait(&status), >, 0);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
	g_assert_cmpint(wait(NULL), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
}

static void kill_daemon(const Scene *s)
{
	g_assert_cmpint(kill(s->daemon, SIGKILL), ==, 0);
}

/* --- the daemon dies --- */

static void leave_two_nodes(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);
	unsigned gone;

	add(list, UNDO_NODE, "a");
	gone = add(list, UNDO_NODE, "gone");
	add(list, UNDO_NODE, "b");
	undo_list_drop(list, gone);
}

static void test_killed(void)
{
	static const ScriptedStep steps[] = { DEL("b"), DEL("a") };
	Scene s = scene(leave_two_nodes, steps, G_N_ELEMENTS(steps));

	kill_daemon(&s);
	finish(&s);
}

static void leave_nothing(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);

	undo_list_drop(list, add(list, UNDO_NODE, "a"));
}

/* The monitor is left alone: that it is not there does not show. */
static void test_killed_with_nothing_left(void)
{
	Scene s = scene(leave_nothing, NULL, 0);

	kill_daemon(&s);
	finish(&s);
}

static void leave_a_qemu_that_is_gone(Guardian *guardian, const char *qmp)
{
	add(new_list(guardian, NOBODY), UNDO_NODE, "a");
	add(new_list(guardian, qmp), UNDO_NODE, "b");
}

/* One VM keeps no other waiting. */
static void test_two_vms(void)
{
	static const ScriptedStep steps[] = { DEL("b") };
	Scene s = scene(leave_a_qemu_that_is_gone, steps,
		G_N_ELEMENTS(steps));

	kill_daemon(&s);
	finish(&s);
}

static void say_goodbye(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);

	add(list, UNDO_NODE, "a");
	undo_list_free(list);
	guardian_free(guardian);
}

/* What could not be undone is tried again; the daemon lives on here. */
static void test_goodbye(void)
{
	static const ScriptedStep steps[] = { DEL("a") };
	Scene s = scene(say_goodbye, steps, G_N_ELEMENTS(steps));

	scripted_qmp_wait(s.peer);
	kill_daemon(&s);
	finish(&s);
}

/* --- windows --- */

static void stand_still(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);

	add(list, UNDO_NODE, "a");
	open_window(guardian, list, add(list, UNDO_STOP, NULL), 100);
}

static void test_window_passes(void)
{
	static const ScriptedStep steps[] = { CONT, DEL("a") };
	Scene s = scene(stand_still, steps, G_N_ELEMENTS(steps));

	finish(&s);
	g_assert_cmpint(g_get_monotonic_time() - s.began, >=,
		100 * G_TIME_SPAN_MILLISECOND);
}

/* The first window is closed by the drop; had it stayed open, it would end
 * the daemon long before the second one does. */
static void stop_twice(Guardian *guardian, const char *qmp)
{
	UndoList *first = new_list(guardian, NOBODY);
	UndoList *second = new_list(guardian, qmp);
	unsigned stop = add(first, UNDO_STOP, NULL);

	open_window(guardian, first, stop, 100);
	undo_list_drop(first, stop);
	open_window(guardian, second, add(second, UNDO_STOP, NULL), 1500);
}

static void test_window_is_closed(void)
{
	static const ScriptedStep steps[] = { CONT };
	Scene s = scene(stop_twice, steps, G_N_ELEMENTS(steps));

	finish(&s);
	g_assert_cmpint(g_get_monotonic_time() - s.began, >=,
		1500 * G_TIME_SPAN_MILLISECOND);
}

/* The undo of something else closes nothing. */
static void drop_another(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);
	unsigned before = add(list, UNDO_NODE, "a"), behind;

	open_window(guardian, list, add(list, UNDO_STOP, NULL), 100);
	behind = add(list, UNDO_NODE, "b");
	undo_list_drop(list, behind);
	undo_list_drop(list, before);
}

static void test_window_stays_open(void)
{
	static const ScriptedStep steps[] = { CONT };
	Scene s = scene(drop_another, steps, G_N_ELEMENTS(steps));

	finish(&s);
}

/* A stop within a freeze: each window is closed by its own undo, and one may
 * be opened anew or closed by hand. */
static void freeze_and_stop(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);
	unsigned thaw = add(list, UNDO_NODE, "a"), stop;

	open_window(guardian, list, thaw, 100);
	open_window(guardian, list, thaw, 1500);
	stop = add(list, UNDO_STOP, NULL);
	open_window(guardian, list, stop, 100);
	undo_list_drop(list, stop);
	stop = add(list, UNDO_STOP, NULL);
	open_window(guardian, list, stop, 100);
	guardian_window_close(guardian, list, stop);
}

static void test_two_windows(void)
{
	static const ScriptedStep steps[] = { CONT, DEL("a") };
	Scene s = scene(freeze_and_stop, steps, G_N_ELEMENTS(steps));

	finish(&s);
	g_assert_cmpint(g_get_monotonic_time() - s.began, >=,
		1500 * G_TIME_SPAN_MILLISECOND);
}

static int left[2]; /* a pipe for the pid of who is left behind */

/* Who has all open that the daemon has, for longer than that lives: what a
 * thread of its own does that waits for a device, and cannot be killed. */
static void leave_somebody_behind(Guardian *guardian, const char *qmp)
{
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		alarm(PATIENCE_S);
		for (;;)
			pause();
	}
	g_assert_cmpint(write(left[1], &pid, sizeof(pid)), ==, sizeof(pid));
	stand_still(guardian, qmp);
}

/* The guest goes on all the same. */
static void test_daemon_cannot_end(void)
{
	static const ScriptedStep steps[] = { CONT, DEL("a") };
	pid_t behind;
	Scene s;

	g_assert_cmpint(pipe2(left, O_CLOEXEC), ==, 0);
	s = scene(leave_somebody_behind, steps, G_N_ELEMENTS(steps));
	scripted_qmp_wait(s.peer);
	g_assert_cmpint(read(left[0], &behind, sizeof(behind)), ==,
		sizeof(behind));
	g_assert_cmpint(waitpid(s.daemon, NULL, 0), ==, s.daemon);
	g_assert_cmpint(kill(behind, SIGKILL), ==, 0);
	g_assert_cmpint(waitpid(behind, NULL, 0), ==, behind);
	g_assert_cmpint(wait(NULL), >, 0);
	g_clear_pointer(&s.peer, scripted_qmp_free);
	close(left[0]);
	close(left[1]);
}

/* --- the mount --- */

static char *mountpoint;

/* What fuse_session_mount() does; nobody serves it. */
static void mount_fuse(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	g_autofree char *options = g_strdup_printf(
		"fd=%d,rootmode=40000,user_id=0,group_id=0", fd);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(mount("web01", mountpoint, "fuse", 0, options), ==, 0);
}

static void announce_and_mount(Guardian *guardian, const char *qmp)
{
	guardian_announce_mountpoint(guardian, mountpoint);
	mount_fuse();
	leave_nothing(guardian, qmp);
}

/* The new mount hides where it is: it is somebody else's. */
static void announce_what_others_mount(Guardian *guardian, const char *qmp)
{
	guardian_announce_mountpoint(guardian, mountpoint);
	g_assert_cmpint(mount("other", mountpoint, "tmpfs", 0, NULL), ==, 0);
	leave_nothing(guardian, qmp);
}

/* In a mount namespace of the test's. */
static void check_mount(Life *life, bool stays)
{
	g_autofree char *mounts = NULL;
	Scene s;

	if (getuid() != 0) {
		g_test_skip("only root mounts");
		return;
	}
	g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
	/* NULL would do, but not for valgrind */
	g_assert_cmpint(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL),
		==, 0);
	mountpoint = g_dir_make_tmp("fleecefs-guardian-XXXXXX", NULL);
	s = scene(life, NULL, 0);
	kill_daemon(&s);
	finish(&s);
	g_assert_true(g_file_get_contents("/proc/self/mounts", &mounts, NULL,
		NULL));
	g_assert_cmpint(strstr(mounts, mountpoint) != NULL, ==, stays);
	if (stays)
		umount2(mountpoint, MNT_DETACH);
	g_rmdir(mountpoint);
	g_clear_pointer(&mountpoint, g_free);
}

static void test_killed_while_mounting(void)
{
	check_mount(announce_and_mount, false);
}

static void test_mount_of_others(void)
{
	check_mount(announce_what_others_mount, true);
}

/* --- several VMs at once --- */

static gpointer make_lists(gpointer guardian)
{
	for (unsigned i = 0; i < LISTS; i++)
		undo_list_free(new_list(guardian, NOBODY));
	return NULL;
}

/* A guest is stopped while others' snapshots begin: for ThreadSanitizer. */
static void test_side_by_side(void)
{
	Guardian *guardian = guardian_start(true, false, NULL);
	UndoList *list;
	GThread *others;
	unsigned stop;
	int status;

	g_assert_nonnull(guardian);
	list = new_list(guardian, NOBODY);
	stop = add(list, UNDO_STOP, NULL);
	others = g_thread_new("others", make_lists, guardian);
	for (unsigned i = 0; i < LISTS; i++) {
		open_window(guardian, list, stop, PATIENT_MS);
		guardian_window_close(guardian, list, stop);
	}
	g_thread_join(others);
	undo_list_drop(list, stop);
	undo_list_free(list);
	guardian_free(guardian);
	g_assert_cmpint(wait(&status), >, 0);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* --- the guardian dies --- */

static pid_t only_child(void)
{
	g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children",
		getpid());
	g_autofree char *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return g_ascii_strtoull(text, NULL, 10);
}

/* The code is EPIPE, and ECONNRESET where a message was not read. */
static void assert_no_guardian(const GError *error)
{
	g_assert_nonnull(error);
	g_assert_cmpuint(error->domain, ==, FLEECE_ERROR);
	g_assert_nonnull(strstr(error->message, "guardian"));
}

/* Nothing is begun without it. */
static void outlive_the_guardian(Guardian *guardian, const char *qmp)
{
	UndoList *list = new_list(guardian, qmp);
	g_autoptr(GError) no_undo = NULL;
	g_autoptr(GError) no_window = NULL;
	g_autoptr(GError) no_list = NULL;
	pid_t pid = only_child();
	unsigned stop = add(list, UNDO_STOP, NULL);

	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
	g_assert_false(undo_list_add(list, UNDO_NODE, "a", NULL, NULL, NULL,
		&no_undo));
	assert_no_guardian(no_undo);
	g_assert_cmpuint(undo_list_length(list), ==, 1);
	g_assert_false(guardian_window_open(guardian, list, stop, 1,
		&no_window));
	assert_no_guardian(no_window);
	g_assert_null(guardian_undo_list(guardian, "x", &(Monitor){ qmp }, 1,
		&no_list));
	assert_no_guardian(no_list);
	/* what is there can still be undone */
	g_assert_true(undo_list_run_at(list, &(Monitor){ NOBODY }, 1, NULL));
}

static void test_guardian_dies(void)
{
	Scene s = scene(outlive_the_guardian, NULL, 0);

	kill_daemon(&s);
	g_assert_cmpint(waitpid(s.daemon, NULL, 0), ==, s.daemon);
	g_assert_cmpint(wait(NULL), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* the guardian becomes our child when the daemon is gone */
	g_assert_cmpint(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
	g_test_add_func("/guardian/killed", test_killed);
	g_test_add_func("/guardian/nothing-left",
		test_killed_with_nothing_left);
	g_test_add_func("/guardian/two-vms", test_two_vms);
	g_test_add_func("/guardian/goodbye", test_goodbye);
	g_test_add_func("/guardian/window/passes", test_window_passes);
	g_test_add_func("/guardian/window/closed", test_window_is_closed);
	g_test_add_func("/guardian/window/open", test_window_stays_open);
	g_test_add_func("/guardian/window/two", test_two_windows);
	g_test_add_func("/guardian/window/no-end", test_daemon_cannot_end);
	g_test_add_func("/guardian/mount/killed", test_killed_while_mounting);
	g_test_add_func("/guardian/mount/of-others", test_mount_of_others);
	g_test_add_func("/guardian/side-by-side", test_side_by_side);
	g_test_add_func("/guardian/dies", test_guardian_dies);
	return g_test_run();
}
