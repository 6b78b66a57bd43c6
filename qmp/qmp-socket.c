/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "autofd.h"
#include "fleece-error.h"

int64_t qmp_deadline(unsigned timeout_ms)
{
	return g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
}

static bool set_address(struct sockaddr_un *address, const char *path,
	GError **error)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) <
		sizeof(address->sun_path))
		return true;
	fleece_set_error(error, ENAMETOOLONG,
		"cannot connect to %s: a socket's path has at most %zu bytes",
		path, sizeof(address->sun_path) - 1);
	return false;
}

/*
 * A non-blocking connect(2) to a full backlog fails with EAGAIN and nothing
 * tells when there is room again; a blocking one waits as long as
 * SO_SNDTIMEO says.
 */
static int connect_until(int fd, const struct sockaddr_un *address,
	int64_t deadline)
{
	for (;;) {
		int64_t left = MAX(deadline - g_get_monotonic_time(), 1);
		struct timeval limit = { left / G_USEC_PER_SEC,
			left % G_USEC_PER_SEC };

		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, (const struct sockaddr *)address,
			    sizeof(*address)) == 0)
			return 0;
		if (errno == EAGAIN)
			return ETIMEDOUT;
		if (errno != EINTR)
			return errno;
	}
}

int qmp_socket_connect(const char *path, int64_t deadline, GError **error)
{
	struct sockaddr_un address;
	AUTOFD int fd = -1;
	int err;

	if (!set_address(&address, path, error))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = fd < 0 ? errno : connect_until(fd, &address, deadline);
	if (!err && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		err = errno;
	if (!err)
		return autofd_steal(&fd);
	fleece_set_error_errno(error, err, "cannot connect to %s", path);
	return -1;
}

static bool wait_ready(int fd, short events, int64_t deadline, GError **error)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = fd, .events = events };
		int64_t left = deadline - g_get_monotonic_time();
		int ready = 0;

		if (left > 0)
			ready = poll(&poll_fd, 1,
				(int)MIN(left / 1000 + 1, INT_MAX));
		if (ready > 0)
			return true;
		if (left <= 0) {
			fleece_set_error(error, ETIMEDOUT, "no answer in time");
			return false;
		}
		if (ready < 0 && errno != EINTR) {
			fleece_set_error_errno(error, errno, "poll");
			return false;
		}
	}
}

static ssize_t send_some(int fd, const char *bytes, size_t n, int pass_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec data = { .iov_base = (char *)bytes, .iov_len = n };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
	struct cmsghdr *header;

	if (pass_fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &pass_fd, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static bool may_retry(int err)
{
	return err == EAGAIN || err == EINTR;
}

bool qmp_socket_send(int fd, const char *bytes, size_t n, int pass_fd,
	int64_t deadline, GError **error)
{
	for (size_t done = 0; done < n;) {
		ssize_t sent;

		if (!wait_ready(fd, POLLOUT, deadline, error))
			return false;
		sent = send_some(fd, bytes + done, n - done,
			done ? -1 : pass_fd);
		if (sent >= 0) {
			done += (size_t)sent;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			fleece_set_error(error, ECONNRESET,
				"the monitor closed the connection");
			return false;
		} else if (!may_retry(errno)) {
			fleece_set_error_errno(error, errno, "cannot send");
			return false;
		}
	}
	return true;
}

ssize_t qmp_socket_receive(int fd, char *bytes, size_t size, int64_t deadline,
	GError **error)
{
	ssize_t n;

	do {
		if (!wait_ready(fd, POLLIN, deadline, error))
			return -1;
		n = recv(fd, bytes, size, 0);
	} while (n < 0 && may_retry(errno));
	/* So says a peer that closed with a command of ours unread. */
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0)
		fleece_set_error_errno(error, errno, "cannot receive");
	return n;
}
