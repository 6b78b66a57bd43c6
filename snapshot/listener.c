/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

#define SOCKET_NAME "nbd"
#define BACKLOG 128

char **listener_directories(const char *session)
{
	const char *parents[] = { "/run", g_get_user_runtime_dir(),
		g_get_tmp_dir() };
	g_autofree char *name = g_strconcat("fleecefs-", session, NULL);
	char **paths = g_new0(char *, G_N_ELEMENTS(parents) + 1);

	for (unsigned i = 0; i < G_N_ELEMENTS(parents); i++)
		paths[i] = g_build_filename(parents[i], name, NULL);
	return paths;
}

char *listener_make_directory(const char *session, GError **error)
{
	g_auto(GStrv) paths = listener_directories(session);

	for (char **path = paths; *path; path++) {
		if (mkdir(*path, 0700) == 0)
			return g_strdup(*path);
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
	AUTOFD int fd = open(directory,
		O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	unlinkat(fd, SOCKET_NAME, 0);
	rmdir(directory);
}
