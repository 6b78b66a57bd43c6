/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether scratch answers, asked of a filesystem that nobody serves. */
#include "scratch-probe.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define SHORT_MS 100
#define LONG_MS 20000

static char *directory;

/* From here on it hangs, until the result is closed. */
static int hang(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	g_autofree char *options = g_strdup_printf(
		"fd=%d,rootmode=40000,user_id=0,group_id=0", fd);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(mount("scratch", directory, "fuse", 0, options), ==,
		0);
	return fd;
}

/* Who was waiting has ended then, but nobody has looked. */
static void end(int fd)
{
	siginfo_t info;

	close(fd);
	g_assert_cmpint(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), ==, 0);
	g_assert_cmpint(umount2(directory, MNT_DETACH), ==, 0);
}

static void test_answers(void)
{
	g_assert_true(scratch_answers(directory, LONG_MS));
	g_assert_true(scratch_answers("/nonexistent", LONG_MS));
}

/* Mounts of the test's are nobody else's. */
static bool may_mount(void)
{
	if (getuid() != 0) {
		g_test_skip("only root mounts");
		return false;
	}
	g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
	/* NULL would do, but not for valgrind */
	g_assert_cmpint(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL),
		==, 0);
	return true;
}

/* An answer that came long ago says nothing of now. */
static void test_hangs_again(void)
{
	int fd;

	if (!may_mount())
		return;
	fd = hang();
	g_assert_false(scratch_answers(directory, SHORT_MS));
	g_assert_false(scratch_answers(directory, SHORT_MS));
	end(fd);
	fd = hang();
	g_assert_false(scratch_answers(directory, SHORT_MS));
	end(fd);
	g_assert_true(scratch_answers(directory, LONG_MS));
	g_assert_cmpint(wait(NULL), ==, -1);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	directory = g_dir_make_tmp("fleecefs-probe-XXXXXX", NULL);
	g_test_add_func("/scratch-probe/answers", test_answers);
	g_test_add_func("/scratch-probe/hangs-again", test_hangs_again);
	status = g_test_run();
	g_rmdir(directory);
	g_free(directory);
	return status;
}
