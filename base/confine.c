/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "confine.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <glib.h>
#include <seccomp.h>
#include <sys/capability.h>

static const cap_value_t kept[] = { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
	CAP_SYS_ADMIN, CAP_SYS_PTRACE };

/* A name that libseccomp does not know is no call of this machine. */
static const char *const running[] = { "execve", "execveat", NULL };
static const char *const denied[] = {
	"mount", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig",
	"fspick", "mount_setattr", "pivot_root", "chroot",
	"setns", "unshare",
	"init_module", "finit_module", "delete_module", "kexec_load",
	"kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
	"process_vm_readv", "process_vm_writev", "pidfd_getfd",
	"open_by_handle_at", "keyctl", "add_key", "request_key",
	"reboot", "swapon", "swapoff", "acct", "quotactl", "syslog",
	"iopl", "ioperm", "settimeofday", "clock_settime", "adjtimex",
	"clock_adjtime", "sethostname", "setdomainname", NULL,
};

static bool is_kept(cap_value_t capability, bool runs_programs)
{
	if (capability == CAP_SETPCAP)
		return runs_programs;
	for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
		if (kept[i] == capability)
			return true;
	}
	return false;
}

static bool give_up(cap_t set, cap_value_t capability)
{
	return cap_set_flag(set, CAP_EFFECTIVE, 1, &capability,
		       CAP_CLEAR) == 0 &&
		cap_set_flag(set, CAP_PERMITTED, 1, &capability,
			CAP_CLEAR) == 0 &&
		cap_set_flag(set, CAP_INHERITABLE, 1, &capability,
			CAP_CLEAR) == 0;
}

/* What is not there, as in a container, need not be given up. */
static bool set_capabilities(bool runs_programs)
{
	cap_t set = cap_get_proc();
	bool done = set;

	for (cap_value_t i = 0; done && CAP_IS_SUPPORTED(i); i++) {
		if (!is_kept(i, runs_programs))
			done = give_up(set, i);
	}
	done = done && cap_set_proc(set) == 0;
	cap_free(set);
	return done;
}

/* The bounding set first: it takes a capability that is then given up. */
void confine_capabilities(bool runs_programs)
{
	bool done = true;

	if (geteuid() != 0)
		return;
	for (cap_value_t i = 0; CAP_IS_SUPPORTED(i); i++) {
		if (!is_kept(i, runs_programs) && cap_get_bound(i) > 0)
			done = cap_drop_bound(i) == 0 && done;
	}
	done = set_capabilities(runs_programs) && done;
	done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && done;
	if (!done)
		g_message("not all capabilities could be given up: %s",
			g_strerror(errno));
}

static int deny(scmp_filter_ctx filter, const char *const *names)
{
	int failed = 0;

	for (unsigned i = 0; names[i] && !failed; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);

		if (call != __NR_SCMP_ERROR)
			failed = seccomp_rule_add(filter,
				SCMP_ACT_ERRNO(EPERM), call, 0);
	}
	return failed;
}

void confine_system_calls(bool runs_programs)
{
	scmp_filter_ctx filter;
	int failed;

	if (geteuid() != 0)
		return;
	filter = seccomp_init(SCMP_ACT_ALLOW);
	failed = filter ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) :
			  -ENOMEM;
	if (!failed)
		failed = deny(filter, denied);
	if (!failed && !runs_programs)
		failed = deny(filter, running);
	if (!failed)
		failed = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (failed)
		g_message("no system calls could be given up: %s",
			g_strerror(-failed));
}
