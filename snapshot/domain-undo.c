/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-undo.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain-chain.h"
#include "domain-owner.h"
#include "fleece-error.h"
#include "listener.h"
#include "virt-backup.h"
#include "virt-checkpoint.h"
#include "virt-domain.h"

#define RUN_ATTEMPTS 3
#define THAW_S 5

static bool is_gone(GError **error)
{
	if (!g_error_matches(*error, FLEECE_ERROR, ENOENT))
		return false;
	g_clear_error(error);
	return true;
}

/* Only ours: between the look and the abort another can only have begun where
 * ours has ended by itself. */
static bool abort_ours(VirtHost *host, const char *uuid, const char *session,
	GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(VirtJob) job = virt_backup_job(host, uuid, &failure);
	g_autoptr(Owner) owner = job ? domain_owner_of(job) : NULL;

	if (is_gone(&failure))
		return true;
	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (!owner || !g_str_equal(owner->session, session))
		return true;
	return virt_backup_abort(host, uuid, error);
}

/* Where it is there, its job may have begun after the one that was looked for
 * by UNDO_BACKUP: who ordered it may be dead, libvirtd carries it out. */
static bool undo_checkpoint(VirtHost *host, const Undo *undo, GError **error)
{
	g_autoptr(VirtCheckpoint) found = virt_checkpoint_find(host, undo->a,
		undo->b, error);
	g_autoptr(DomainCheckpoint) ours = found ?
		domain_checkpoint_parse(found->name, found->description) :
		NULL;

	if (!found)
		return false;
	return !ours || !ours->pending ||
		(abort_ours(host, undo->a, undo->c, error) &&
			virt_checkpoint_delete(host, undo->a, undo->b, NULL,
				error));
}

static bool resume_from(VirtHost *host, const Undo *undo,
	enum virt_state state, GError **error)
{
	enum virt_state now;

	if (!virt_domain_state(host, undo->a, &now, error))
		return false;
	return now != state ||
		virt_domain_resume(host, undo->a, 0, error);
}

static bool undo_file(const Undo *undo, GError **error)
{
	int failure = unlink(undo->a) < 0 ? errno : 0;
	struct stat st;

	/* EROFS comes before ENOENT */
	if (!failure || (lstat(undo->a, &st) < 0 && errno == ENOENT))
		return true;
	fleece_set_error_errno(error, failure, "unlink %s", undo->a);
	return false;
}

static bool undo_any(VirtHost *host, const Undo *undo, GError **error)
{
	unsigned count;

	switch (undo->kind) {
	case UNDO_DIRECTORY:
		listener_remove_directory(undo->a);
		return true;
	case UNDO_FILE:
		return undo_file(undo, error);
	case UNDO_BACKUP:
		return abort_ours(host, undo->a, undo->b, error);
	case UNDO_CHECKPOINT:
		return undo_checkpoint(host, undo, error);
	case UNDO_SUSPEND:
		return resume_from(host, undo, VIRT_STATE_PAUSED, error);
	case UNDO_IO_ERROR:
		return resume_from(host, undo, VIRT_STATE_IO_ERROR, error);
	case UNDO_FREEZE:
		return virt_domain_thaw(host, undo->a, THAW_S, &count,
			error);
	case UNDO_NOTE:
		return virt_domain_set_note(host, undo->a, NULL, error);
	default: /* of a QEMU whose monitor we have: undo-qmp.c */
		g_assert_not_reached();
	}
}

/*
 * A domain that is off has no job, no note and no frozen guest any more; a
 * pending checkpoint of it cannot be deleted, and is by whoever comes next.
 */
static bool is_off(VirtHost *host, const Undo *undo, bool *lost)
{
	g_autoptr(GError) failure = NULL;
	enum virt_state state;
	bool known = virt_domain_state(host, undo->a, &state, &failure);

	/* that is libvirt's to say: a QEMU that hangs need not be asked */
	*lost = g_error_matches(failure, FLEECE_ERROR, ETIMEDOUT) ||
		g_error_matches(failure, FLEECE_ERROR, ENOTCONN);
	return !known && g_error_matches(failure, FLEECE_ERROR, ENOENT);
}

static bool undo_one(void *opaque, const Undo *undo, bool *lost,
	GError **error)
{
	VirtHost *host = opaque;
	g_autoptr(GError) failure = NULL;
	bool done = undo_any(host, undo, &failure) || is_gone(&failure);

	/* one that does not answer would let each of them wait */
	*lost = g_error_matches(failure, FLEECE_ERROR, ENOTCONN);
	if (done || (!*lost && is_off(host, undo, lost)))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

bool domain_undo_run(UndoList *list, VirtHost *host, unsigned timeout_ms,
	GError **error)
{
	virt_host_set_timeout(host, timeout_ms);
	return undo_list_run_with(list, undo_one, host, error);
}

/* A connection that breaks in the midst of it is opened again, as long as that
 * does not take too long by itself. */
bool domain_undo_run_at(UndoList *list, const char *uri, unsigned timeout_ms,
	GError **error)
{
	g_autoptr(VirtHost) host = virt_host_new(uri, NULL, NULL);
	gint64 ends = g_get_monotonic_time() +
		timeout_ms * G_TIME_SPAN_MILLISECOND;

	for (int attempt = 1; undo_list_length(list); attempt++) {
		g_autoptr(GError) failure = NULL;

		if (domain_undo_run(list, host, timeout_ms, &failure))
			return true;
		if (attempt == RUN_ATTEMPTS ||
		    g_get_monotonic_time() > ends ||
		    !g_error_matches(failure, FLEECE_ERROR, ENOTCONN)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
	}
	return true;
}
