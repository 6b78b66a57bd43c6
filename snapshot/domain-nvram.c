/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-nvram.c - what a domain's firmware remembers */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "autofd.h"
#include "domain-build.h"
#include "fleece-error.h"

/* Those of edk2 have 528 KiB, and 64 MiB on ARM. */
#define NVRAM_MAX (64 << 20)
#define TRIES 3

static int open_it(const char *path, size_t *size, GError **error)
{
	AUTOFD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		fleece_set_error_errno(error, errno, "%s", path);
		return -1;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > NVRAM_MAX) {
		fleece_set_error(error, EINVAL, "%s: it is no file of up to "
			"64 MiB", path);
		return -1;
	}
	*size = st.st_size;
	return autofd_steal(&fd);
}

static GBytes *read_bytes(const char *path, GError **error)
{
	size_t size, at = 0;
	AUTOFD int fd = open_it(path, &size, error);
	g_autofree char *bytes = fd < 0 ? NULL : g_try_malloc(size);

	while (bytes && at < size) {
		ssize_t n = pread(fd, bytes + at, size - at, at);

		if (n > 0)
			at += n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	if (bytes && at == size)
		return g_bytes_new_take(g_steal_pointer(&bytes), size);
	if (fd >= 0)
		fleece_set_error(error, EIO, "%s: it cannot be read", path);
	return NULL;
}

/* QEMU writes a few bytes of it at a time: what is the same when it is read
 * again was not being written. */
static GBytes *read_settled(const char *path, GError **error)
{
	g_autoptr(GBytes) before = read_bytes(path, error);

	for (unsigned i = 0; before && i < TRIES; i++) {
		g_autoptr(GBytes) again = read_bytes(path, error);

		if (!again)
			return NULL;
		if (g_bytes_equal(before, again))
			return g_steal_pointer(&again);
		g_bytes_unref(before);
		before = g_steal_pointer(&again);
	}
	if (before)
		fleece_set_error(error, EAGAIN, "%s: it is being written",
			path);
	return NULL;
}

GBytes *domain_nvram_read(const DomainRequest *request,
	const VirtHardware *hardware)
{
	const char *uri = virt_host_uri(domain_host_virt(request->host));
	g_autoptr(GError) error = NULL;
	GBytes *nvram;

	if (!hardware->nvram || domain_is_remote(uri))
		return NULL;
	nvram = read_settled(hardware->nvram, &error);
	if (!nvram)
		g_warning("VM %s: there is no domain.nvram: %s", request->vm,
			error->message);
	return nvram;
}
