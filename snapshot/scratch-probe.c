/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch-probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"

/* A process that tries. */
typedef struct {
	char *directory;
	pid_t pid;
	int end; /* of a pipe; the other one closes with the process */
} Probe;

/* Those that did not come to their end in time: whoever asks next waits for
 * one of them and does not start another. */
static GMutex lock;
static GQueue hanging = G_QUEUE_INIT; /* Probe; lock */

static void probe_free(Probe *probe)
{
	autofd_clear(&probe->end);
	g_free(probe->directory);
	g_free(probe);
}

/* In the new process: nothing but system calls, for the locks of the other
 * threads are held for ever here. */
static void try(const char *directory)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (pwrite(fd, "", 1, 0) == 1)
		fdatasync(fd);
	close(fd);
}

/* Whoever hangs must not keep a socket or the mount open. */
static void close_all_but(int end)
{
	if (end > 0)
		close_range(0, end - 1, 0);
	close_range(end + 1, ~0u, 0);
}

static Probe *probe_start(const char *directory)
{
	Probe *probe;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	pid = fork();
	if (pid == 0) {
		close_all_but(ends[1]);
		try(directory);
		_exit(0);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return NULL;
	}
	probe = g_new0(Probe, 1);
	*probe = (Probe){ g_strdup(directory), pid, ends[0] };
	return probe;
}

static bool probe_wait(const Probe *probe, unsigned limit_ms)
{
	gint64 ends = g_get_monotonic_time() +
		limit_ms * G_TIME_SPAN_MILLISECOND;
	struct pollfd poller = { .fd = probe->end };
	int ready;

	do {
		gint64 left_us = ends - g_get_monotonic_time();

		ready = poll(&poller, 1, left_us > 0 ? left_us / 1000 + 1 : 0);
	} while (ready < 0 && errno == EINTR);
	return ready != 0;
}

/* Its end of the pipe is closed, so it is gone in a moment. */
static void probe_reap(Probe *probe)
{
	while (waitpid(probe->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	probe_free(probe);
}

static Probe *take_hanging(const char *directory)
{
	Probe *found = NULL;

	g_mutex_lock(&lock);
	for (GList *link = hanging.head; link && !found; link = link->next) {
		Probe *probe = link->data;

		if (strcmp(probe->directory, directory) == 0)
			found = probe;
	}
	if (found)
		g_queue_remove(&hanging, found);
	g_mutex_unlock(&lock);
	return found;
}

/* One that still hangs.  What one that has ended since found, it found at some
 * time in the past. */
static Probe *find_hanging(const char *directory)
{
	Probe *probe = take_hanging(directory);

	while (probe && probe_wait(probe, 0)) {
		probe_reap(probe);
		probe = take_hanging(directory);
	}
	return probe;
}

static void put_hanging(Probe *probe)
{
	g_mutex_lock(&lock);
	g_queue_push_tail(&hanging, probe);
	g_mutex_unlock(&lock);
}

bool scratch_answers(const char *directory, unsigned limit_ms)
{
	Probe *probe = find_hanging(directory);

	if (!probe)
		probe = probe_start(directory);
	if (!probe) {
		g_warning("scratch=%s: it cannot be found out whether it "
			"answers: %s", directory, g_strerror(errno));
		return true;
	}
	if (!probe_wait(probe, limit_ms)) {
		put_hanging(probe);
		return false;
	}
	probe_reap(probe);
	return true;
}

bool scratch_check_answers(const char *directory, unsigned limit_ms,
	GError **error)
{
	if (scratch_answers(directory, limit_ms))
		return true;
	fleece_set_error(error, ETIMEDOUT, "scratch=%s does not answer: its "
		"filesystem is frozen, or its device hangs", directory);
	return false;
}
