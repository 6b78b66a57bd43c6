/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virt-monitor.h"

#include <errno.h>

#include <libvirt/libvirt-qemu.h>

#include "fleece-error.h"
#include "virt-connect.h"
#include "virt-limit.h"

/* UUIDs of the domains that a message is on its way to. */
static GMutex lock;
static GCond ended;
static GPtrArray *spoken_to; /* lock; NULL: there never was any */

static bool is_spoken_to_locked(const char *uuid, guint *index)
{
	return spoken_to && g_ptr_array_find_with_equal_func(spoken_to, uuid,
		g_str_equal, index);
}

/* Waits for the end of a message for which nobody waits any more. */
static bool begin(const char *uuid, gint64 ends, GError **error)
{
	bool good = true;

	g_mutex_lock(&lock);
	while (good && is_spoken_to_locked(uuid, NULL))
		good = g_cond_wait_until(&ended, &lock, ends);
	if (good && !spoken_to)
		spoken_to = g_ptr_array_new_with_free_func(g_free);
	if (good)
		g_ptr_array_add(spoken_to, g_strdup(uuid));
	g_mutex_unlock(&lock);
	if (!good)
		fleece_set_error(error, ETIMEDOUT, "libvirt: monitor: QEMU, or "
			"libvirtd, has not answered an earlier command yet");
	return good;
}

static void end(const char *uuid)
{
	guint index;

	g_mutex_lock(&lock);
	if (is_spoken_to_locked(uuid, &index))
		g_ptr_array_remove_index(spoken_to, index);
	g_cond_broadcast(&ended);
	g_mutex_unlock(&lock);
}

#if LIBVIR_CHECK_VERSION(8, 2, 0)
static int send_message(VirtCall *call, char **reply)
{
	unsigned n = call->file >= 0;

	return virDomainQemuMonitorCommandWithFiles(call->domain, call->a, n,
		n ? &call->file : NULL, NULL, NULL, reply, 0);
}

/* Nobody has had QEMU do anything. */
static bool explain(GError **error)
{
	g_autoptr(GError) failure = NULL;

	virt_fail(&failure, "monitor");
	if (g_error_matches(failure, FLEECE_ERROR, EBUSY))
		failure->code = ETIMEDOUT;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}
#endif

/* a is the message. */
static bool run(VirtCall *call, GError **error)
{
#if LIBVIR_CHECK_VERSION(8, 2, 0)
	char *reply = NULL;

	if (send_message(call, &reply) < 0)
		return explain(error);
	call->answer = virt_text_take(reply);
	return true;
#else
	fleece_set_error(error, ENOTSUP, "this fleecefs was built with a "
		"libvirt before 8.2, which hands no descriptors over");
	return false;
#endif
}

char *virt_monitor_run(VirtHost *host, const char *uuid, const char *message,
	int file, unsigned timeout_ms, GError **error)
{
	gint64 ends = g_get_monotonic_time() +
		timeout_ms * G_TIME_SPAN_MILLISECOND;
	VirtDeed deed = { run, .a = message,
		.file = file >= 0 ? &file : NULL, .ended = end };
	gpointer reply = NULL;

	if (!begin(uuid, ends, error))
		return NULL;
	deed.timeout_ms = MAX((ends - g_get_monotonic_time()) / 1000, 1);
	virt_act(host, uuid, &deed, &reply, error);
	return reply;
}
