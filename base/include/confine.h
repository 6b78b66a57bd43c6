/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * confine.h - give up the rights that a mount needs no more
 *
 * Bytes from QEMU, from NBD servers and from users of the mount come into a
 * process that root has started: what it cannot do, they cannot make it do.
 * Only root's process is confined.  An ordinary user's has no rights to give
 * up, and needs the setuid fusermount3(1) at its end.
 *
 * What fails is logged, and the process goes on: nothing depends on it.
 */
#pragma once

#include <stdbool.h>

/*
 * Keeps these capabilities(7), for good, and drops all others:
 *
 * CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: a monitor's socket and a scratch
 *     directory may be anybody's
 * CAP_SYS_ADMIN: mount(2) and umount(2)
 * CAP_SYS_PTRACE: /proc says whether another owner lives, hidepid or not
 * CAP_SETPCAP: only where libvirt has to run programs, which it starts with
 *     none of these
 *
 * Sets no_new_privs, too.  Both are a thread's own: call it while there is
 * but one.
 */
void confine_capabilities(bool runs_programs);

/*
 * From here on the process mounts, loads, traces and reconfigures nothing, and
 * runs no other program, unless it has to: EPERM (seccomp(2)).  For all of its
 * threads, and for the programs.
 */
void confine_system_calls(bool runs_programs);
