/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inherited.h - what a process gets from whoever starts it, and must not
 * depend on
 *
 * The standard descriptors, and those that others have left open, are the
 * business of who stays in the background.  What a caller ignores on purpose,
 * as nohup(1) does SIGHUP, stays ignored.
 */
#pragma once

/*
 * First of all in main(): the umask is 022; no signal is blocked; how a child
 * ended can be asked for; a file that gets too large (RLIMIT_FSIZE) is EFBIG
 * and no signal.
 */
void inherited_reset(void);
