/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What root's process can do no more, in a child that shows it. */
#include "confine.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

typedef int Try(void);

static int run_a_program(void)
{
	return execl("/bin/true", "true", NULL);
}

static int mount_something(void)
{
	return mount("none", "/nonexistent", "tmpfs", 0, NULL);
}

static int enter_a_namespace(void)
{
	return unshare(CLONE_NEWNS);
}

static int unmount_something(void)
{
	return umount2("/nonexistent", MNT_DETACH);
}

/* A right that only CAP_CHOWN gives. */
static int give_a_file_away(void)
{
	return fchown(memfd_create("confine", 0), 1, 1);
}

enum confined { FREE, CONFINED, BUT_PROGRAMS };

static gpointer try_in_thread(gpointer data)
{
	Try *try = (Try *)(uintptr_t)data;

	return GINT_TO_POINTER(try() == 0 ? 0 : errno);
}

/* The errno of it in a child, in a thread that was there before or not; 0 for
 * a program that was run. */
static int try_confined(Try *try, enum confined confined, bool in_thread)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		gpointer result;

		if (confined) {
			confine_capabilities(confined == BUT_PROGRAMS);
			confine_system_calls(confined == BUT_PROGRAMS);
		}
		if (!in_thread)
			_exit(try() == 0 ? 0 : errno);
		result = g_thread_join(g_thread_new("try", try_in_thread,
			(gpointer)(uintptr_t)try));
		_exit(GPOINTER_TO_INT(result));
	}
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool is_root(void)
{
	if (getuid() == 0)
		return true;
	g_test_skip("only root is confined");
	return false;
}

static void test_denied(void)
{
	Try *const tries[] = { run_a_program, mount_something,
		enter_a_namespace, give_a_file_away };

	if (!is_root())
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(tries); i++) {
		g_assert_cmpint(try_confined(tries[i], CONFINED, false), ==,
			EPERM);
		g_assert_cmpint(try_confined(tries[i], CONFINED, true), ==,
			EPERM);
	}
}

/* What must go on, and that the others did before. */
static void test_allowed(void)
{
	if (!is_root())
		return;
	g_assert_cmpint(try_confined(unmount_something, CONFINED, false), ==,
		ENOENT);
	g_assert_cmpint(try_confined(run_a_program, FREE, false), ==, 0);
	g_assert_cmpint(try_confined(run_a_program, BUT_PROGRAMS, false), ==,
		0);
	g_assert_cmpint(try_confined(enter_a_namespace, BUT_PROGRAMS, false),
		==, EPERM);
	g_assert_cmpint(try_confined(mount_something, FREE, false), ==,
		ENOENT);
	g_assert_cmpint(try_confined(enter_a_namespace, FREE, false), ==, 0);
	g_assert_cmpint(try_confined(give_a_file_away, FREE, false), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/confine/denied", test_denied);
	g_test_add_func("/confine/allowed", test_allowed);
	return g_test_run();
}
