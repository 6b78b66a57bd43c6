/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tsan-real.h - for functions that take the place of GLib's */
#pragma once

#include <dlfcn.h>
#include <stdint.h>

#include <glib.h>

/* The last of a function's declarations: real is GLib's own function. */
#define REAL(name)                                                             \
	static __typeof__(&name) found;                                        \
	__typeof__(&name) real = __atomic_load_n(&found, __ATOMIC_RELAXED);    \
	if (!real) {                                                           \
		real = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name);  \
		__atomic_store_n(&found, real, __ATOMIC_RELAXED);              \
	}
