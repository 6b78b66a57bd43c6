/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A .conf file as SOURCE: VMs with harmless names and settings that go
 * together, or an error. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fleece-error.h"
#include "fuzz.h"
#include "source.h"

static void check_settings(const Settings *settings)
{
	g_autoptr(GError) error = NULL;

	g_assert_true(settings_check(settings, false, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(settings->keep, <=, 1000);
	g_assert_cmpint(settings->since_ms, >=, 0);
	g_assert_true(g_path_is_absolute(settings->scratch));
	g_assert_true(!settings->agent || g_path_is_absolute(settings->agent));
	g_assert_cmpuint(settings->scratch_limit.percent, <=, 100);
	g_assert_cmpuint(settings->scratch_limit.bytes, <=, G_MAXINT64);
}

static void check_vms(const Source *source)
{
	g_autoptr(GPtrArray) failures = source_failures_new();
	g_autoptr(GPtrArray) vms = source_list(source, failures);

	for (guint i = 0; i < vms->len; i++) {
		const VmConfig *vm = vms->pdata[i];

		g_assert_cmpstr(vm->name, !=, "");
		g_assert_null(strchr(vm->name, '/'));
		g_assert_cmpint(vm->name[0], !=, '.');
		g_assert_true(vm->nbd || vm->images ||
			g_path_is_absolute(vm->qmp));
		check_settings(vm->settings);
		if (i > 0)
			g_assert_cmpstr(((VmConfig *)vms->pdata[i - 1])->name,
				<, vm->name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(Settings) settings = settings_new();
	g_autoptr(Source) source = NULL;
	g_autoptr(GError) error = NULL;
	int fd = memfd_create("conf", MFD_CLOEXEC);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	source = source_new(path, NULL, NULL, settings, &error);
	fuzz_assert_told(source, error);
	/* to list those of a libvirt would be to talk to it */
	if (source && source_hosts(source)->len == 0)
		check_vms(source);
	else if (!source && error->code != ENOTSUP)
		g_assert_error(error, FLEECE_ERROR, EINVAL);
	close(fd);
	return 0;
}
