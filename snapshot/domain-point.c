/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-build.h"

#include <errno.h>
#include <string.h>

#include "domain-agent.h"
#include "domain-owner.h"
#include "fleece-error.h"
#include "virt-backup.h"
#include "virt-domain.h"

/* What the exported bitmaps are called: metadata contexts are seen by
 * whoever may connect. */
#define BITMAP "fleecefs"

/* How long a guest may stand still, and how this is spent: where libvirt makes
 * the scratch images, it does in it. */
#define PAUSE_LIMIT_MS 9000
#define STOP_MS 2000
#define BEGIN_MS 5000
#define CONT_MS 1500
/* How long it may be frozen, as in fleece-freeze.c. */
#define FREEZE_LIMIT_MS 8000
#define FREEZE_BUDGET_MS 6200
#define FREEZE_ANSWER_S 4
#define THAW_ANSWER_S 4
#define BEGIN_MIN_MS 500
/* What a set-up that is being undone may take beside. */
#define UNWIND_LIMIT_MS 60000
#define RETRY_US (100 * G_TIME_SPAN_MILLISECOND)

static const Settings *settings(const DomainBuild *build)
{
	return build->request->settings;
}

static const char *uuid_of(const DomainBuild *build)
{
	return build->request->uuid;
}

static bool note_undo(DomainBuild *build, enum undo_kind kind, const char *b,
	unsigned *id, GError **error)
{
	return undo_list_add(build->request->undo, kind, uuid_of(build), b,
		NULL, id, error);
}

static void drop_undo(DomainBuild *build, unsigned *id)
{
	undo_list_drop(build->request->undo, *id);
	*id = 0;
}

/* The note is what a recovery needs, if all of us die in the next moment. */
static bool renew_note(DomainBuild *build, GError **error)
{
	g_autofree char *note = owner_to_text(build->owner);

	return virt_domain_set_note(build->virt, uuid_of(build), note, error);
}

static bool set_note(DomainBuild *build, const char *state, GError **error)
{
	g_free(build->owner->state);
	build->owner->state = g_strdup(state);
	return renew_note(build, error);
}

/* --- the guest's filesystems --- */

static void warn(DomainBuild *build, const GError *problem)
{
	g_warning("VM %s: %s", build->request->vm, problem->message);
	g_ptr_array_add(build->fleece->warnings, g_strdup(problem->message));
}

/* What is wrong with the freeze: an end to the snapshot, or a warning. */
static bool tolerate(DomainBuild *build, GError *problem, GError **error)
{
	g_autoptr(GError) owned = problem;

	if (settings(build)->freeze == FREEZE_REQUIRE) {
		g_propagate_prefixed_error(error, g_steal_pointer(&owned),
			"not frozen: ");
		return false;
	}
	g_prefix_error(&owned, "not frozen: ");
	warn(build, owned);
	return true;
}

static bool announce_freeze(DomainBuild *build, GError **error)
{
	const DomainRequest *request = build->request;

	g_free(build->owner->agent);
	build->owner->agent = g_strdup(OWNER_LIBVIRT_AGENT);
	if (!note_undo(build, UNDO_FREEZE, NULL, &build->freeze_undo, error) ||
	    !set_note(build, "frozen", error))
		return false;
	build->frozen_since = g_get_monotonic_time();
	return guardian_window_open(request->guardian, request->undo,
		build->freeze_undo, FREEZE_LIMIT_MS, error);
}

/* Thaws until the agent has answered, for as long as for anything. */
static bool thaw(DomainBuild *build, GError **error)
{
	gint64 ends = g_get_monotonic_time() + settings(build)->timeout_ms *
		G_TIME_SPAN_MILLISECOND;
	unsigned count;

	for (;;) {
		g_autoptr(GError) failure = NULL;

		if (virt_domain_thaw(build->virt, uuid_of(build),
			    THAW_ANSWER_S, &count, &failure))
			break;
		if (g_get_monotonic_time() > ends) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		g_usleep(RETRY_US);
	}
	drop_undo(build, &build->freeze_undo);
	g_clear_pointer(&build->owner->agent, g_free);
	return true;
}

/* What the agent has refused has not happened; one that did not answer may
 * still do it. */
static bool give_up(DomainBuild *build, GError *problem, GError **error)
{
	if (domain_agent_has_refused(problem)) {
		drop_undo(build, &build->freeze_undo);
		g_clear_pointer(&build->owner->agent, g_free);
	}
	return tolerate(build, problem, error) &&
		(!build->freeze_undo || thaw(build, error));
}

static bool freeze(DomainBuild *build, GError **error)
{
	GError *problem = NULL;
	unsigned count;

	if (settings(build)->freeze == FREEZE_NO)
		return true;
	if (!build->hardware->agent) {
		fleece_set_error(&problem, EOPNOTSUPP,
			"no guest agent is connected");
		return tolerate(build, problem, error);
	}
	if (!announce_freeze(build, error))
		return false;
	if (!virt_domain_freeze(build->virt, uuid_of(build), FREEZE_ANSWER_S,
		    &count, &problem))
		return give_up(build, problem, error);
	build->fleece->is_frozen = true;
	build->fleece->frozen = count;
	return true;
}

/* Windows thaws by itself after ten seconds. */
static bool check_frozen(DomainBuild *build, GError **error)
{
	GError *problem = NULL;

	build->fleece->freeze_us = g_get_monotonic_time() -
		build->frozen_since;
	if (build->fleece->freeze_us < FREEZE_LIMIT_MS * 1000)
		return true;
	fleece_set_error(&problem, ETIMEDOUT,
		"it took longer than %d ms", FREEZE_LIMIT_MS);
	return tolerate(build, problem, error);
}

/* What is left for one of several things if the guest is frozen, of limit_ms
 * where that is not 0: anything. */
static unsigned while_frozen(const DomainBuild *build, unsigned limit_ms)
{
	gint64 left;

	if (!build->freeze_undo)
		return limit_ms;
	left = FREEZE_BUDGET_MS -
		(g_get_monotonic_time() - build->frozen_since) / 1000;
	left = MAX(left, BEGIN_MIN_MS);
	return limit_ms ? MIN(limit_ms, left) : left;
}

static bool end_freeze(DomainBuild *build, GError **error)
{
	if (!build->freeze_undo)
		return true;
	return check_frozen(build, error) && thaw(build, error);
}

/* --- the guest's processors --- */

/*
 * libvirt copies what the base has recorded before the job begins: of a write
 * that is under way between the two, the increment would not know.  A guest
 * that stands still has none.
 */
static bool needs_pause(const DomainBuild *build)
{
	bool any = false;

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		any |= disk->chosen && disk->base_name;
	}
	return any;
}

static bool stop_guest(DomainBuild *build, GError **error)
{
	const DomainRequest *request = build->request;
	unsigned wait_ms = settings(build)->timeout_ms;
	enum virt_state state;

	if (!needs_pause(build))
		return true;
	/* the other half is the job's */
	if (build->freeze_undo)
		wait_ms = while_frozen(build, 2 * wait_ms) / 2;
	if (!virt_domain_wait_idle(build->virt, uuid_of(build), wait_ms,
		    error) ||
	    !virt_domain_state(build->virt, uuid_of(build), &state, error))
		return false;
	if (state != VIRT_STATE_RUNS)
		return true;
	if (!note_undo(build, UNDO_SUSPEND, NULL, &build->pause_undo, error) ||
	    !set_note(build, "stopped", error) ||
	    !guardian_window_open(request->guardian, request->undo,
		    build->pause_undo, PAUSE_LIMIT_MS, error))
		return false;
	build->paused_since = g_get_monotonic_time();
	return virt_domain_suspend(build->virt, uuid_of(build), STOP_MS, error);
}

static bool let_go_on(DomainBuild *build, GError **error)
{
	if (!build->pause_undo)
		return true;
	if (!virt_domain_resume(build->virt, uuid_of(build), CONT_MS, error))
		return false;
	build->fleece->pause_us += g_get_monotonic_time() -
		build->paused_since;
	drop_undo(build, &build->pause_undo);
	return true;
}

/* --- the job --- */

/* What it may take without keeping the guest for too long; 0: anything. */
static unsigned begin_ms(const DomainBuild *build)
{
	return while_frozen(build, build->pause_undo ? BEGIN_MS : 0);
}

static VirtBackupDisk *list_disks(const DomainBuild *build)
{
	VirtBackupDisk *list = g_new0(VirtBackupDisk, build->disks->len);

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		list[i] = (VirtBackupDisk){
			.target = disk->disk->target,
			.chosen = disk->chosen,
			.base = disk->base_name,
			.export = disk->export,
			.scratch = disk->scratch,
			.recorded = disk->recorded,
		};
	}
	return list;
}

/* Its name stands before it is there. */
static bool name_next(DomainBuild *build, GError **error)
{
	Fleece *fleece = build->fleece;

	g_clear_pointer(&fleece->checkpoint, g_free);
	if (!build->next)
		return true;
	fleece->checkpoint = domain_checkpoint_name(build->next,
		uuid_of(build));
	return undo_list_add(build->request->undo, UNDO_CHECKPOINT,
		uuid_of(build), fleece->checkpoint, build->owner->session,
		NULL, error);
}

/* libvirt has no job then, nor can it know more; and without via=monitor we do
 * not look into QEMU. */
static void say_who_serves(GError **error)
{
	char *message;

	if (!error || !strstr((*error)->message, "NBD server already running"))
		return;
	message = g_strconcat((*error)->message, " (by a migration, or by a "
		"fleecefs with via=monitor?  What a dead one has left, "
		"fleecectl recover --via=monitor undoes)", NULL);
	g_free((*error)->message);
	(*error)->message = message;
}

static bool begin_job(DomainBuild *build, GError **error)
{
	g_autofree VirtBackupDisk *disks = list_disks(build);
	g_autofree char *description = build->next ?
		domain_checkpoint_description(build->next) : NULL;
	const VirtBackup backup = {
		.socket = build->socket,
		.address = build->remote ?
			domain_remote_address(build->remote) : NULL,
		.port = build->remote ? domain_remote_port(build->remote) : 0,
		.bitmap = BITMAP,
		.checkpoint = build->fleece->checkpoint,
		.description = description,
		.disks = disks,
		.n_disks = build->disks->len,
		.scratch_made = domain_scratch_is_ours(build),
		.timeout_ms = begin_ms(build),
	};

	if (virt_backup_begin(build->virt, uuid_of(build), &backup, error))
		return true;
	say_who_serves(error);
	return false;
}

/* The guest goes on, whatever has come of it. */
static bool try_once(DomainBuild *build, GError **error)
{
	g_autoptr(GError) failure = NULL;
	bool begun = stop_guest(build, &failure) && begin_job(build, &failure);

	if (!let_go_on(build, failure ? NULL : &failure))
		begun = false;
	if (!begun)
		g_propagate_error(error, g_steal_pointer(&failure));
	return begun;
}

/* Where another has what was chosen for it there, once more with the next. */
static bool try_everywhere(DomainBuild *build, GError **error)
{
	for (;;) {
		GError *failure = NULL;

		if (try_once(build, &failure))
			return true;
		if (build->remote &&
		    domain_remote_move(build->remote, &failure)) {
			g_error_free(failure);
			continue;
		}
		g_propagate_error(error, failure);
		return false;
	}
}

/* libvirt names the disk whose bitmap it cannot use; where we do not find the
 * name, it may be any. */
static void distrust_bases(DomainBuild *build, const char *message)
{
	bool found = false;

	for (int all = 0; all < 2 && !found; all++) {
		for (guint i = 0; i < build->disks->len; i++) {
			DomainDisk *disk = build->disks->pdata[i];
			g_autofree char *quoted = g_strdup_printf("'%s'",
				disk->disk->target);

			if (!disk->base_name ||
			    (!all && !strstr(message, quoted)))
				continue;
			((ChainBitmap *)disk->base.base)->inconsistent = true;
			found = true;
		}
	}
}

/* Each time another disk becomes a full one, and once the scratch libvirt's, so
 * that it ends. */
static bool plan_otherwise(DomainBuild *build, const GError *failure)
{
	if (domain_scratch_leave(build, failure->message))
		return true;
	if (!g_error_matches(failure, FLEECE_ERROR, EUCLEAN) ||
	    !needs_pause(build))
		return false;
	g_message("VM %s: %s", build->request->vm, failure->message);
	distrust_bases(build, failure->message);
	return true;
}

static bool find_point(DomainBuild *build, GError **error)
{
	for (guint tries = 0; tries <= build->disks->len + 1; tries++) {
		g_autoptr(GError) failure = NULL;

		if (!domain_plan_chain(build, error) ||
		    !name_next(build, error))
			return false;
		if (try_everywhere(build, &failure))
			return true;
		if (!plan_otherwise(build, failure)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return false;
		}
		if (!domain_scratch_make(build, error))
			return false;
	}
	fleece_set_error(error, EIO, "libvirt finds no bitmap to be good");
	return false;
}

static bool end_note(DomainBuild *build, GError **error)
{
	return g_str_equal(build->owner->state, "live") ||
		virt_domain_set_note(build->virt, uuid_of(build), NULL, error);
}

bool domain_point(DomainBuild *build, GError **error)
{
	return note_undo(build, UNDO_NOTE, NULL, NULL, error) &&
		note_undo(build, UNDO_IO_ERROR, NULL, NULL, error) &&
		note_undo(build, UNDO_BACKUP, build->owner->session, NULL,
			error) &&
		domain_scratch_make(build, error) && freeze(build, error) &&
		find_point(build, error) &&
		end_freeze(build, error) && end_note(build, error);
}

/* A QEMU that hangs keeps its guest by itself. */
static void extend(DomainBuild *build, unsigned undo)
{
	const DomainRequest *request = build->request;

	if (undo)
		guardian_window_open(request->guardian, request->undo, undo,
			settings(build)->timeout_ms + UNWIND_LIMIT_MS, NULL);
}

void domain_point_unwind(DomainBuild *build)
{
	extend(build, build->freeze_undo);
	extend(build, build->pause_undo);
}

/* Else the guardian would end us, and the snapshots of others with us. */
void domain_point_leave(DomainBuild *build)
{
	const DomainRequest *request = build->request;

	if (build->freeze_undo)
		guardian_window_close(request->guardian, request->undo,
			build->freeze_undo);
	if (build->pause_undo)
		guardian_window_close(request->guardian, request->undo,
			build->pause_undo);
}
