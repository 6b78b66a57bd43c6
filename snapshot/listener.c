/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

#define SOCKET_NAME "nbd"
#define BACKLOG 128

char *listener_make_directory(GError **error)
{
	const char *parents[] = { "/run", g_get_user_runtime_dir(),
		g_get_tmp_dir() };

	for (unsigned i = 0; i < G_N_ELEMENTS(parents); i++) {
		g_autofree char *path = g_build_filename(parents[i],
			"fleecefs-XXXXXX", NULL);

		if (g_mkdtemp(path))
			return g_steal_pointer(&path);
	}
	fleece_set_error_errno(error, errno,
		"cannot make a private directory for the NBD socket");
	return NULL;
}

char *listener_path(const char *directory)
{
	return g_build_filename(directory, SOCKET_NAME, NULL);
}

static bool address(const char *directory, struct sockaddr_un *sun,
	GError **error)
{
	g_autofree char *path = g_build_filename(directory, SOCKET_NAME,
		NULL);

	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (g_strlcpy(sun->sun_path, path, sizeof sun->sun_path) >=
		sizeof sun->sun_path) {
		fleece_set_error_errno(error, ENAMETOOLONG, "%s", path);
		return false;
	}
	return true;
}

int listener_open(const char *directory, GError **error)
{
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun;

	if (!address(directory, &sun, error))
		return -1;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof sun) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		fleece_set_error_errno(error, errno, "NBD socket %s",
			sun.sun_path);
		return -1;
	}
	return autofd_steal(&fd);
}

int listener_connect(const char *directory, GError **error)
{
	AUTOFD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sun;

	if (!address(directory, &sun, error))
		return -1;
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&sun, sizeof sun) < 0) {
		fleece_set_error_errno(error, errno, "connecting to %s",
			sun.sun_path);
		return -1;
	}
	return autofd_steal(&fd);
}

void listener_remove_directory(const char *directory)
{
	g_autofree char *path = g_build_filename(directory, SOCKET_NAME,
		NULL);

	unlink(path);
	rmdir(directory);
}
