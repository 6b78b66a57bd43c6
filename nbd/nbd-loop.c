/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fleece-error.h"
#include "nbd-loop-member.h"
#include "nbd-loop.h"

struct NbdLoop {
	GThread *thread;    /* const */
	int kick_fd;        /* const: an eventfd */
	gint asleep;        /* atomic: see nbd_loop_kick() */
	GPtrArray *members; /* loop's thread */
	GArray *fds;        /* loop's thread: struct pollfd, kick_fd first */

	GMutex lock;
	GCond gone;         /* a member's gone has changed */
	GPtrArray *joining; /* lock */
	GPtrArray *leaving; /* lock */
	bool quit;          /* lock */
};

/*
 * The loop says that it is asleep before it looks at its members' queues for
 * the last time; so a wish queued before that look is seen by it, and one
 * queued after it finds asleep set and writes.  Everybody else saves the
 * system call.
 */
void nbd_loop_kick(NbdLoop *loop)
{
	if (!g_atomic_int_compare_and_exchange(&loop->asleep, 1, 0))
		return;
	/* The counter cannot overflow: one write for each round at most. */
	while (eventfd_write(loop->kick_fd, 1) && errno == EINTR)
		;
}

static GPtrArray *take_leaving(NbdLoop *loop)
{
	GPtrArray *leaving = loop->leaving;

	loop->leaving = g_ptr_array_new();
	return leaving;
}

static void let_go(NbdLoop *loop, NbdLoopMember *member)
{
	g_ptr_array_remove(loop->members, member);
	member->let_go(member);
	g_mutex_lock(&loop->lock);
	member->gone = true;
	g_cond_broadcast(&loop->gone);
	g_mutex_unlock(&loop->lock);
}

/* Lets members in and out. Returns false when the thread is to end. */
static bool take_changes(NbdLoop *loop)
{
	g_autoptr(GPtrArray) leaving = NULL;
	bool quit;

	g_mutex_lock(&loop->lock);
	for (guint i = 0; i < loop->joining->len; i++)
		g_ptr_array_add(loop->members, loop->joining->pdata[i]);
	g_ptr_array_set_size(loop->joining, 0);
	if (loop->leaving->len > 0)
		leaving = take_leaving(loop);
	quit = loop->quit;
	g_mutex_unlock(&loop->lock);

	for (guint i = 0; leaving && i < leaving->len; i++)
		let_go(loop, leaving->pdata[i]);
	return !quit;
}

/* Fills loop->fds. Returns when to wake up at the latest. */
static int64_t prepare_members(NbdLoop *loop)
{
	int64_t deadline = NBD_NEVER;

	g_array_set_size(loop->fds, 1);
	for (guint i = 0; i < loop->members->len; i++) {
		NbdLoopMember *member = loop->members->pdata[i];
		int64_t theirs;

		member->first_fd = loop->fds->len;
		theirs = member->prepare(member, loop->fds);
		deadline = MIN(deadline, theirs);
	}
	return deadline;
}

/* poll(2)'s timeout until deadline, rounded up lest the loop spins. */
static int timeout_until(int64_t deadline)
{
	int64_t left;

	if (deadline == NBD_NEVER)
		return -1;
	left = deadline - g_get_monotonic_time();
	return left <= 0 ? 0 : (int)MIN((left + 999) / 1000, INT_MAX);
}

static void wait_for_events(NbdLoop *loop, int64_t deadline)
{
	struct pollfd *fds = (struct pollfd *)loop->fds->data;
	eventfd_t count;

	if (poll(fds, loop->fds->len, timeout_until(deadline)) < 0) {
		for (guint i = 0; i < loop->fds->len; i++)
			fds[i].revents = 0;
	}
	g_atomic_int_set(&loop->asleep, 0);
	if (fds[0].revents)
		eventfd_read(loop->kick_fd, &count);
}

static void dispatch_members(NbdLoop *loop)
{
	const struct pollfd *fds = (const struct pollfd *)loop->fds->data;

	for (guint i = 0; i < loop->members->len; i++) {
		NbdLoopMember *member = loop->members->pdata[i];

		member->dispatch(member, fds + member->first_fd);
	}
}

static gpointer loop_thread(gpointer opaque)
{
	NbdLoop *loop = opaque;

	for (;;) {
		g_atomic_int_set(&loop->asleep, 1);
		if (!take_changes(loop))
			return NULL;
		wait_for_events(loop, prepare_members(loop));
		dispatch_members(loop);
	}
}

static void loop_destroy(NbdLoop *loop)
{
	if (loop->kick_fd >= 0)
		close(loop->kick_fd);
	g_ptr_array_unref(loop->members);
	g_ptr_array_unref(loop->joining);
	g_ptr_array_unref(loop->leaving);
	g_array_unref(loop->fds);
	g_cond_clear(&loop->gone);
	g_mutex_clear(&loop->lock);
	g_free(loop);
}

static NbdLoop *loop_alloc(void)
{
	NbdLoop *loop = g_new0(NbdLoop, 1);

	g_mutex_init(&loop->lock);
	g_cond_init(&loop->gone);
	loop->members = g_ptr_array_new();
	loop->joining = g_ptr_array_new();
	loop->leaving = g_ptr_array_new();
	loop->fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
	loop->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return loop;
}

NbdLoop *nbd_loop_new(GError **error)
{
	NbdLoop *loop = loop_alloc();
	struct pollfd kick = {.fd = loop->kick_fd, .events = POLLIN};

	if (loop->kick_fd < 0) {
		fleece_set_error_errno(error, errno, "eventfd");
		loop_destroy(loop);
		return NULL;
	}
	g_array_append_val(loop->fds, kick);
	loop->thread = g_thread_try_new("nbd-loop", loop_thread, loop, error);
	if (!loop->thread) {
		loop_destroy(loop);
		return NULL;
	}
	return loop;
}

void nbd_loop_free(NbdLoop *loop)
{
	g_mutex_lock(&loop->lock);
	loop->quit = true;
	g_mutex_unlock(&loop->lock);
	nbd_loop_kick(loop);
	g_thread_join(loop->thread);
	g_assert(loop->members->len == 0 && loop->joining->len == 0);
	loop_destroy(loop);
}

void nbd_loop_add(NbdLoop *loop, NbdLoopMember *member)
{
	g_mutex_lock(&loop->lock);
	g_ptr_array_add(loop->joining, member);
	g_mutex_unlock(&loop->lock);
	nbd_loop_kick(loop);
}

void nbd_loop_remove(NbdLoop *loop, NbdLoopMember *member)
{
	g_assert(g_thread_self() != loop->thread);
	g_mutex_lock(&loop->lock);
	g_ptr_array_add(loop->leaving, member);
	g_mutex_unlock(&loop->lock);
	nbd_loop_kick(loop);

	g_mutex_lock(&loop->lock);
	while (!member->gone)
		g_cond_wait(&loop->gone, &loop->lock);
	g_mutex_unlock(&loop->lock);
}
