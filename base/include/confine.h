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

/*
 * Keeps these capabilities(7), for good, and drops all others:
 *
 * CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: a monitor's socket and a scratch
 *     directory may be anybody's
 * CAP_SYS_ADMIN: mount(2) and umount(2)
 * CAP_SYS_PTRACE: /proc says whether another owner lives, hidepid or not
 *
 * Sets no_new_privs, too.  Both are a thread's own: call it while there is
 * but one.
 */
void confine_capabilities(void);

/*
 * From here on the process runs no other program, and mounts, loads, traces
 * and reconfigures nothing: EPERM (seccomp(2)).  For all of its threads.
 */
void confine_system_calls(void);
