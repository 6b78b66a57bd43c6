/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest-agent.h - freezing a guest's filesystems through qemu-guest-agent
 *
 * The agent is a program inside the guest: it may be slow, mute, gone or
 * hostile, and what it says is believed by nobody but about the guest itself.
 * Its channel is a unix socket of QEMU that serves one client at a time and
 * keeps what an earlier one did not wait for.  So each conversation begins
 * with a 0xff byte and guest-sync-delimited: whatever comes before the reply
 * with our random id is dropped.  The same is done after a failure.
 *
 * Errors are those of qmp-error.h: QMP_ERROR where the agent answered and
 * said no, in its own words; else FLEECE_ERROR with ETIMEDOUT, EPROTO,
 * ECONNRESET, or what connect(2) says.  The message names the socket and the
 * command.  A command that was not answered in time may still be carried out.
 *
 * A GuestAgent belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

typedef struct GuestAgent GuestAgent;

/* Connects to the unix socket path; nothing is said yet. */
GuestAgent *guest_agent_connect(const char *path, unsigned timeout_ms,
	GError **error);
void guest_agent_free(GuestAgent *agent);

/* guest-fsfreeze-status; *frozen: whoever has frozen them. */
bool guest_agent_is_frozen(GuestAgent *agent, unsigned timeout_ms,
	bool *frozen, GError **error);

/*
 * guest-fsfreeze-freeze; *count: how many filesystems.  After a failure of
 * any kind they may be frozen, or be so later.
 */
bool guest_agent_freeze(GuestAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error);

/*
 * guest-fsfreeze-thaw; *count: how many it thawed itself, 0 where it says
 * that they are thawed already.  The command reaches an agent that is busy
 * with another, too, and is carried out after it, whether or not somebody
 * still waits.
 */
bool guest_agent_thaw(GuestAgent *agent, unsigned timeout_ms,
	uint64_t *count, GError **error);

/* The same over a connection of its own. */
bool guest_agent_thaw_at(const char *path, unsigned timeout_ms,
	uint64_t *count, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestAgent, guest_agent_free)
