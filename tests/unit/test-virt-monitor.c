/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor that is lent: the driver for tests lends none. */
#include "virt-monitor.h"

#include <errno.h>
#include <unistd.h>

#include "fleece-error.h"
#include "virt-rig.h"

#define PATIENT_MS 20000

static void assert_refused(VirtHost *host, const char *uuid, int file,
	int code)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(virt_monitor_run(host, uuid, "{}", file, PATIENT_MS,
		&error));
	g_assert_error(error, FLEECE_ERROR, code);
}

/* Whatever has come of one message, the next need not wait. */
static void test_one_after_the_other(void)
{
	g_autoptr(VirtHost) host = virt_rig_new("", "");

	assert_refused(host, VIRT_RIG_UUID, -1, EIO);
	assert_refused(host, VIRT_RIG_UUID, STDIN_FILENO, EIO);
	assert_refused(host, "00000000-0000-0000-0000-000000000001", -1,
		ENOENT);
	assert_refused(host, VIRT_RIG_UUID, -1, EIO);
}

/* Nobody is there. */
static void test_no_connection(void)
{
	g_autoptr(VirtHost) host = virt_host_new(
		"qemu+unix:///system?socket=/dev/null/none", NULL, NULL);

	assert_refused(host, VIRT_RIG_UUID, -1, ENOTCONN);
	assert_refused(host, VIRT_RIG_UUID, -1, ENOTCONN);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virt-monitor/one-after-the-other",
		test_one_after_the_other);
	g_test_add_func("/virt-monitor/no-connection", test_no_connection);
	return g_test_run();
}
