/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inherited.h"

#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>

void inherited_reset(void)
{
	sigset_t none;

	umask(022);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
