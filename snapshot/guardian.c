/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guardian.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "autofd.h"
#include "fleece-error.h"
#include "guardian-message.h"
#include "guardian-process.h"
#include "mounted-device.h"

struct Guardian {
	int socket;        /* send(2) on it is atomic: needs no lock */
	GMutex lock;
	unsigned last_list; /* guarded by lock */
	GPtrArray *charges; /* Charge, guarded by lock; freed at the end */
};

/* What an undo list's mirror needs to know. */
typedef struct {
	Guardian *guardian;
	unsigned list;
	UndoList *undo; /* guarded by the guardian's lock */
} Charge;

Guardian *guardian_start(bool foreground, bool runs_programs, GError **error)
{
	int pair[2];
	int self = getpid();
	Guardian *guardian;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		fleece_set_error_errno(error, errno, "guardian: socketpair");
		return NULL;
	}
	pid = fork();
	if (pid < 0) {
		fleece_set_error_errno(error, errno, "guardian: fork");
		close(pair[0]);
		close(pair[1]);
		return NULL;
	}
	if (pid == 0) {
		close(pair[0]);
		guardian_process(pair[1], self, foreground, runs_programs);
	}
	close(pair[1]);
	guardian = g_new0(Guardian, 1);
	guardian->socket = pair[0];
	guardian->charges = g_ptr_array_new_with_free_func(g_free);
	g_mutex_init(&guardian->lock);
	return guardian;
}

void guardian_free(Guardian *guardian)
{
	if (!guardian)
		return;
	message_send(guardian->socket, &(Message){ .kind = MESSAGE_BYE });
	close(guardian->socket);
	g_ptr_array_unref(guardian->charges);
	g_mutex_clear(&guardian->lock);
	g_free(guardian);
}

static bool tell(Guardian *guardian, const Message *message, GError **error)
{
	if (message_send(guardian->socket, message))
		return true;
	fleece_set_error_errno(error, errno,
		"the guardian process does not answer: nothing is begun "
		"without it");
	return false;
}

static bool mirror_added(void *opaque, const Undo *undo, GError **error)
{
	const Charge *charge = opaque;

	return tell(charge->guardian, &(Message){ .kind = MESSAGE_ADD,
		.list = charge->list, .number = undo->id, .undo = undo->kind,
		.a = undo->a, .b = undo->b, .c = undo->c }, error);
}

static void mirror_dropped(void *opaque, unsigned id)
{
	const Charge *charge = opaque;

	tell(charge->guardian, &(Message){ .kind = MESSAGE_DROP,
		.list = charge->list, .number = id }, NULL);
}

static Charge *charge_new(Guardian *guardian)
{
	Charge *charge = g_new0(Charge, 1);

	charge->guardian = guardian;
	g_mutex_lock(&guardian->lock);
	charge->list = ++guardian->last_list;
	g_ptr_array_add(guardian->charges, charge);
	g_mutex_unlock(&guardian->lock);
	return charge;
}

UndoList *guardian_undo_list(Guardian *guardian, const char *vm,
	const Monitor *monitor, unsigned timeout_ms, GError **error)
{
	Charge *charge = charge_new(guardian);
	UndoMirror mirror = { mirror_added, mirror_dropped, charge };
	UndoList *undo;

	if (!tell(guardian, &(Message){ .kind = MESSAGE_LIST,
		    .list = charge->list, .number = timeout_ms, .a = vm,
		    .b = monitor->at, .c = monitor->uuid }, error))
		return NULL;
	undo = undo_list_new(vm, &mirror);
	g_mutex_lock(&guardian->lock);
	charge->undo = undo;
	g_mutex_unlock(&guardian->lock);
	return undo;
}

void guardian_announce_mountpoint(Guardian *guardian, const char *mountpoint)
{
	tell(guardian, &(Message){ .kind = MESSAGE_MOUNT, .a = mountpoint },
		NULL);
}

void guardian_set_mountpoint(Guardian *guardian, const char *mountpoint)
{
	tell(guardian, &(Message){ .kind = MESSAGE_MOUNT, .a = mountpoint,
		.number = mounted_device(mountpoint) }, NULL);
}

static unsigned list_number(Guardian *guardian, const UndoList *list)
{
	unsigned number = 0;

	g_mutex_lock(&guardian->lock);
	for (guint i = 0; i < guardian->charges->len; i++) {
		const Charge *charge = guardian->charges->pdata[i];

		if (charge->undo == list)
			number = charge->list;
	}
	g_mutex_unlock(&guardian->lock);
	return number;
}

bool guardian_window_open(Guardian *guardian, UndoList *list, unsigned undo,
	unsigned limit_ms, GError **error)
{
	return tell(guardian, &(Message){ .kind = MESSAGE_OPEN,
		.list = list_number(guardian, list), .undo = undo,
		.number = limit_ms }, error);
}

void guardian_window_close(Guardian *guardian, UndoList *list, unsigned undo)
{
	guardian_window_open(guardian, list, undo, 0, NULL);
}
