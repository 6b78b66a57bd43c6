/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guardian-process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <glib.h>

#include "confine.h"
#include "guardian-message.h"
#include "log.h"
#include "mounted-device.h"
#include "undo.h"
#include "utab.h"

/* How long a VM that cannot be cleaned up at once is tried again. */
#define PATIENCE_US (10 * 60 * G_TIME_SPAN_SECOND)
#define RETRY_MS 500
/* How long a daemon that was killed is waited for. */
#define DEATH_MS 1000

/* The copy of one undo list. */
typedef struct {
	char *vm;
	char *at, *uuid; /* its Monitor */
	unsigned timeout_ms;
	UndoList *undo;
	GHashTable *ids;     /* the daemon's undo id -> ours */
	GHashTable *windows; /* the daemon's undo id -> gint64: monotonic us
			      * when the window that it closes ends */
} Ward;

typedef struct {
	int socket;
	int daemon_pid;
	GHashTable *wards; /* list number -> Ward */
	char *mountpoint;
	dev_t device;        /* of the filesystem at mountpoint; 0: unknown */
	bool goodbye;
} Watch;

static void ward_free(Ward *ward)
{
	g_free(ward->vm);
	g_free(ward->at);
	g_free(ward->uuid);
	undo_list_free(ward->undo);
	g_hash_table_unref(ward->ids);
	g_hash_table_unref(ward->windows);
	g_free(ward);
}

static Ward *ward_new(const Message *m)
{
	Ward *ward = g_new0(Ward, 1);

	ward->vm = g_strdup(m->a);
	ward->at = g_strdup(m->b);
	ward->uuid = m->c[0] ? g_strdup(m->c) : NULL;
	ward->timeout_ms = m->number;
	ward->undo = undo_list_new(m->a, NULL);
	ward->ids = g_hash_table_new(NULL, NULL);
	ward->windows = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return ward;
}

static void ward_add(Ward *ward, const Message *m)
{
	unsigned id;

	undo_list_add(ward->undo, m->undo, m->a, m->b, m->c, &id, NULL);
	g_hash_table_insert(ward->ids, GUINT_TO_POINTER(m->number),
		GUINT_TO_POINTER(id));
}

/* A window lasts as long as its undo is there. */
static void ward_drop(Ward *ward, const Message *m)
{
	gpointer id = g_hash_table_lookup(ward->ids,
		GUINT_TO_POINTER(m->number));

	undo_list_drop(ward->undo, GPOINTER_TO_UINT(id));
	g_hash_table_remove(ward->ids, GUINT_TO_POINTER(m->number));
	g_hash_table_remove(ward->windows, GUINT_TO_POINTER(m->number));
}

static void ward_open(Ward *ward, const Message *m)
{
	gint64 ends = g_get_monotonic_time() +
		m->number * G_TIME_SPAN_MILLISECOND;
	gpointer id = GUINT_TO_POINTER(m->undo);

	if (m->number == 0)
		g_hash_table_remove(ward->windows, id);
	else if (g_hash_table_contains(ward->ids, id))
		g_hash_table_insert(ward->windows, id,
			g_memdup2(&ends, sizeof(ends)));
}

static void take_ward_message(Watch *watch, const Message *m)
{
	Ward *ward = g_hash_table_lookup(watch->wards,
		GUINT_TO_POINTER(m->list));

	if (m->kind == MESSAGE_LIST)
		g_hash_table_insert(watch->wards, GUINT_TO_POINTER(m->list),
			ward_new(m));
	if (!ward)
		return;
	if (m->kind == MESSAGE_ADD)
		ward_add(ward, m);
	else if (m->kind == MESSAGE_DROP)
		ward_drop(ward, m);
	else if (m->kind == MESSAGE_OPEN)
		ward_open(ward, m);
}

static void set_mountpoint(Watch *watch, const Message *m)
{
	g_free(watch->mountpoint);
	watch->mountpoint = g_strdup(m->a);
	watch->device = m->number;
}

/* Returns false at the end of the stream. */
static bool take_message(Watch *watch)
{
	Message m;
	g_autoptr(GVariant) packet = message_receive(watch->socket, &m);

	if (!packet)
		return false;
	if (m.kind == MESSAGE_BYE)
		watch->goodbye = true;
	else if (m.kind == MESSAGE_MOUNT)
		set_mountpoint(watch, &m);
	else
		take_ward_message(watch, &m);
	return true;
}

/* When the first open window of the VM ends. */
static gint64 first_end(const Ward *ward)
{
	GHashTableIter iter;
	gpointer value;
	gint64 first = G_MAXINT64;

	g_hash_table_iter_init(&iter, ward->windows);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		first = MIN(first, *(const gint64 *)value);
	return first;
}

/* The milliseconds until the first open window ends; -1 where none is. */
static int next_window(const Watch *watch)
{
	GHashTableIter iter;
	gpointer value;
	gint64 first = G_MAXINT64;

	g_hash_table_iter_init(&iter, watch->wards);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		first = MIN(first, first_end(value));
	if (first == G_MAXINT64)
		return -1;
	first -= g_get_monotonic_time();
	return first <= 0 ? 0 : first / 1000 + 1;
}

/* What it has sent before its end still counts.  A thread of it that waits for
 * a device, or for a filesystem that is frozen, keeps it from its end and its
 * socket open; the guest does not wait for that. */
static void kill_daemon(Watch *watch)
{
	struct pollfd poller = { .fd = watch->socket, .events = POLLIN };

	g_warning("a guest stood still or was frozen for too long: killing "
		  "the daemon (pid %d)", watch->daemon_pid);
	kill(watch->daemon_pid, SIGKILL);
	while (poll(&poller, 1, DEATH_MS) > 0 && take_message(watch))
		continue;
}

/* Follows the daemon until its end of the socket closes. */
static void watch_daemon(Watch *watch)
{
	struct pollfd poller = { .fd = watch->socket, .events = POLLIN };

	for (;;) {
		int ready = poll(&poller, 1, next_window(watch));

		if (ready == 0 && next_window(watch) == 0) {
			kill_daemon(watch);
			return;
		}
		if (ready > 0 && !take_message(watch))
			return;
	}
}

static gpointer clean_ward(gpointer data)
{
	Ward *ward = data;
	const Monitor monitor = { ward->at, ward->uuid };
	gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

	while (undo_list_length(ward->undo)) {
		g_autoptr(GError) error = NULL;

		if (undo_list_run_at(ward->undo, &monitor,
			    ward->timeout_ms, &error))
			break;
		if (g_get_monotonic_time() > deadline) {
			g_warning("%s", error->message);
			break;
		}
		g_usleep(RETRY_MS * 1000);
	}
	return NULL;
}

/* Every VM has a thread: one whose monitor is busy keeps no other waiting. */
static GPtrArray *start_cleaning(const Watch *watch)
{
	GPtrArray *threads = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, watch->wards);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Ward *ward = value;

		if (undo_list_length(ward->undo) == 0)
			continue;
		g_warning("VM %s: cleaning up behind the daemon", ward->vm);
		g_ptr_array_add(threads, g_thread_new("ward", clean_ward,
			ward));
	}
	return threads;
}

static void finish_cleaning(GPtrArray *threads)
{
	for (guint i = 0; i < threads->len; i++)
		g_thread_join(threads->pdata[i]);
	g_ptr_array_unref(threads);
}

/* A mount that somebody has put there since is not ours to touch.  Where we
 * were not told which is ours, one that is dead is. */
static bool is_ours(const Watch *watch)
{
	struct stat st;

	if (watch->device)
		return mounted_device(watch->mountpoint) == watch->device;
	return stat(watch->mountpoint, &st) < 0 && errno == ENOTCONN;
}

/* Root detaches the mount itself; others need the setuid fusermount3. */
static void detach_mount(const Watch *watch)
{
	const char *argv[] = { "fusermount3", "-u", "-z", "-q", "--",
		watch->mountpoint, NULL };

	if (!is_ours(watch))
		return;
	if (umount2(watch->mountpoint, MNT_DETACH) == 0) {
		utab_remove(watch->mountpoint);
		return;
	}
	g_spawn_sync(NULL, (char **)argv, NULL,
		G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
		NULL, NULL, NULL, NULL);
}

static void become_guardian(int socket, bool foreground, bool runs_programs)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* else syslog(3) would go on writing to a number that we close */
	closelog();
	setsid();
	prctl(PR_SET_NAME, "fleecefs-guard");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (!foreground)
		dup2(null, STDERR_FILENO);
	if (socket > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, socket - 1, 0);
	close_range(socket + 1, ~0u, 0);
	log_init(foreground ? LOG_TARGET_STDERR : LOG_TARGET_SYSTEM, false);
	if (chdir("/") < 0)
		g_warning("guardian: chdir /: %s", g_strerror(errno));
	/* best effort: only root may lower it */
	g_file_set_contents_full("/proc/self/oom_score_adj", "-900", -1,
		G_FILE_SET_CONTENTS_NONE, 0, NULL);
	confine_capabilities(runs_programs);
	confine_system_calls(runs_programs);
}

void guardian_process(int socket, int daemon_pid, bool foreground,
	bool runs_programs)
{
	Watch watch = { .socket = socket, .daemon_pid = daemon_pid };
	GPtrArray *threads;

	become_guardian(socket, foreground, runs_programs);
	watch.wards = g_hash_table_new_full(NULL, NULL, NULL,
		(GDestroyNotify)ward_free);
	watch_daemon(&watch);
	threads = start_cleaning(&watch);
	if (!watch.goodbye && watch.mountpoint)
		detach_mount(&watch);
	finish_cleaning(threads);
	g_hash_table_unref(watch.wards);
	g_free(watch.mountpoint);
	exit(0);
}
