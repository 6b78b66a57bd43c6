/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-fleece.h"

#include <errno.h>
#include <unistd.h>

#include "domain-checkpoints.h"
#include "domain-owner.h"
#include "domain-undo.h"
#include "fleece-error.h"
#include "virt-backup.h"
#include "virt-domain.h"

/* Reads the note that is in the job; *job is NULL where no job runs. */
static bool read_job(VirtHost *host, const char *uuid, VirtJob **job,
	GError **error)
{
	g_autoptr(GError) failure = NULL;

	*job = virt_backup_job(host, uuid, &failure);
	if (*job || g_error_matches(failure, FLEECE_ERROR, ENOENT))
		return true;
	g_propagate_error(error, g_steal_pointer(&failure));
	return false;
}

/* A living owner of another machine cannot be told from a dead one. */
static bool check_dead(const Owner *owner, GError **error)
{
	/* one of our own that came too late, when it was not waited for */
	if (owner_is_alive(owner) && owner->pid != getpid()) {
		fleece_set_error(error, EBUSY,
			"fleecefs with pid %d has a snapshot of it",
			owner->pid);
		return false;
	}
	if (owner_is_ours(owner))
		return true;
	fleece_set_error(error, EBUSY, "a fleecefs of another machine (pid "
		"%d there) has a snapshot of it; if that is dead, fleecectl "
		"recover --force ends it", owner->pid);
	return false;
}

static void add(UndoList *list, enum undo_kind kind, const char *a,
	const char *b)
{
	undo_list_add(list, kind, a, b, NULL, NULL, NULL);
}

/* A libvirt on another machine speaks of paths there. */
static void add_files(UndoList *list, const Owner *owner, const VirtJob *job)
{
	for (guint i = 0; job && i < job->scratch->len; i++)
		add(list, UNDO_FILE, job->scratch->pdata[i], NULL);
	if (job && job->socket)
		add(list, UNDO_FILE, job->socket, NULL);
	undo_list_add_directories(list, owner->session);
}

/* The list that a set-up of that owner would have made. */
static UndoList *list_of(VirtHost *host, const char *vm, const char *uuid,
	const Owner *owner, const VirtJob *job)
{
	UndoList *list = undo_list_new(vm, NULL);

	if (!domain_is_remote(virt_host_uri(host)))
		add_files(list, owner, job);
	add(list, UNDO_NOTE, uuid, NULL);
	add(list, UNDO_IO_ERROR, uuid, NULL);
	add(list, UNDO_BACKUP, uuid, owner->session);
	if (owner->agent)
		add(list, UNDO_FREEZE, uuid, NULL);
	if (g_str_equal(owner->state, "stopped"))
		add(list, UNDO_SUSPEND, uuid, NULL);
	return list;
}

static bool undo_owner(VirtHost *host, const char *vm, const char *uuid,
	const Owner *owner, const VirtJob *job, bool force,
	unsigned timeout_ms, GError **error)
{
	g_autoptr(UndoList) list = NULL;

	if (!force && !check_dead(owner, error))
		return false;
	g_warning("VM %s: undoing what a %s fleecefs (pid %d) left with "
		"libvirt", vm, owner_is_alive(owner) ? "living" : "dead",
		owner->pid);
	list = list_of(host, vm, uuid, owner, job);
	return domain_undo_run(list, host, timeout_ms, error);
}

/* The note is there while the guest may stand still or be frozen. */
static Owner *read_note(VirtHost *host, const char *uuid, GError **error)
{
	g_autofree char *note = virt_domain_get_note(host, uuid, error);

	return note ? owner_from_text(note) : NULL;
}

bool domain_check_lock(VirtHost *host, const char *uuid, GError **error)
{
	g_autofree char *note = virt_domain_get_note(host, uuid, NULL);

	return note || virt_domain_check_lock(host, uuid, error);
}

static bool recover_job(VirtHost *host, const char *vm, const char *uuid,
	const VirtJob *job, bool force, unsigned timeout_ms, GError **error)
{
	g_autoptr(Owner) owner = domain_owner_of(job);

	return !owner || undo_owner(host, vm, uuid, owner, job, force,
		timeout_ms, error);
}

bool domain_check_idle(VirtHost *host, const char *uuid, GError **error)
{
	g_autoptr(VirtJob) job = NULL;

	if (!read_job(host, uuid, &job, error))
		return false;
	if (job)
		fleece_set_error(error, EBUSY, "libvirt runs a backup job of "
			"somebody else's: wait until that has ended");
	return !job;
}

/* Afterwards *job is what still runs. */
static bool undo_note(VirtHost *host, const char *vm, const char *uuid,
	const Owner *owner, VirtJob **job, bool force, unsigned timeout_ms,
	GError **error)
{
	if (!undo_owner(host, vm, uuid, owner, *job, force, timeout_ms, error))
		return false;
	g_clear_pointer(job, virt_job_free);
	return read_job(host, uuid, job, error);
}

bool domain_recover(VirtHost *host, const char *vm, const char *uuid,
	bool force, unsigned timeout_ms, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(VirtJob) job = NULL;
	g_autoptr(Owner) note = NULL;
	bool off;

	if (!virt_domain_is_off(host, uuid, &off, error))
		return false;
	if (off) /* without QEMU is no job, nor can a checkpoint be deleted */
		return true;
	if (!read_job(host, uuid, &job, error))
		return false;
	note = read_note(host, uuid, &failure);
	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return false;
	}
	if (note && !undo_note(host, vm, uuid, note, &job, force, timeout_ms,
		    error))
		return false;
	if (job && !recover_job(host, vm, uuid, job, force, timeout_ms, error))
		return false;
	return domain_checkpoints_drop_pending(host, vm, uuid, error);
}
