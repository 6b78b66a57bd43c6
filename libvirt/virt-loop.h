/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virt-loop.h - the thread in which libvirt tells what happens
 *
 * libvirt has one event loop in a process, for all connections: so whoever
 * wants events shares its thread, which runs as long as there is anybody.
 * Any thread may call.  What events call runs in the thread.
 */
#pragma once

/* Before the first connection of the process. */
void virt_loop_prepare(void);

/* Starts the thread where nobody has yet; not before the last fork. */
void virt_loop_enter(void);

/* Ends it where nobody else is left.  Blocks; not from the thread itself. */
void virt_loop_leave(void);
