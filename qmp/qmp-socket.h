/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp-socket.h - a unix socket with a deadline; private to this layer
 *
 * Deadlines are times of g_get_monotonic_time().  Errors are FLEECE_ERROR:
 * ETIMEDOUT past the deadline, ECONNRESET where the peer is gone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

/* The time timeout_ms from now. */
int64_t qmp_deadline(unsigned timeout_ms);

/*
 * A connected, non-blocking, close-on-exec socket, or -1.  Waits where the
 * listener's backlog is full.  ENAMETOOLONG for a path that no socket
 * address can hold; else what connect(2) says.
 */
int qmp_socket_connect(const char *path, int64_t deadline, GError **error);

/* Sends all n > 0 bytes, with pass_fd (unless it is -1) along the first. */
bool qmp_socket_send(int fd, const char *bytes, size_t n, int pass_fd,
	int64_t deadline, GError **error);

/* Waits for bytes; 0 where the peer closed, -1 with error set. */
ssize_t qmp_socket_receive(int fd, char *bytes, size_t size, int64_t deadline,
	GError **error);
