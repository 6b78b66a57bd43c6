/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - the life of a mount
 *
 * parse, fork into the background, fork the guardian, take the snapshots,
 * mount, say that it stands, serve, and at the end take everything out of
 * QEMU again.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <fuse_lowlevel.h>

#include "background.h"
#include "confine.h"
#include "filesystem.h"
#include "fs-ops.h"
#include "inherited.h"
#include "log.h"
#include "mounted-device.h"
#include "options.h"
#include "unmount.h"
#include "utab.h"

/* What mount(8) expects of its helpers. */
#define EXIT_USAGE 1
#define EXIT_MOUNT 32

/* Requests are handed on, not waited for: a few workers do. */
#define FUSE_THREADS 4

static int complain(const GError *error, int status)
{
	g_autofree char *line = log_line(error->message);

	fprintf(stderr, "fleecefs: %s\n", line);
	return status;
}

/* A disk needs its scratch and its connections; the soft limit is one for
 * select(2), which nobody here uses. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Everything below this forks no more. */
static VmSet *open_set(const Options *options, GError **error)
{
	Source *source = source_new(options->source, options->name,
		options->vms, options->settings, error);
	Guardian *guardian;

	if (!source)
		return NULL;
	guardian = guardian_start(options->foreground,
		source_runs_programs(source), error);
	if (!guardian) {
		source_free(source);
		return NULL;
	}
	confine_capabilities(source_runs_programs(source));
	return vm_set_new_take(source, guardian, options->settings, error);
}

/* libfuse takes its options out of the list that it gets. */
static struct fuse_session *mount_session(Filesystem *fs, Options *options)
{
	struct fuse_session *session = fuse_session_new(&options->fuse,
		&fs_ops, sizeof fs_ops, fs);

	if (!session)
		return NULL;
	fs->session = session;
	guardian_announce_mountpoint(vm_set_guardian(fs->set),
		options->mountpoint);
	if (fuse_session_mount(session, options->mountpoint) == 0)
		return session;
	fuse_session_destroy(session);
	return NULL;
}

static void serve(Filesystem *fs, struct fuse_session *session, int background)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_set_signal_handlers(session);
	fs->device = mounted_device(fs->options->mountpoint);
	guardian_set_mountpoint(vm_set_guardian(fs->set),
		fs->options->mountpoint);
	utab_add(fs->options->fsname, fs->options->mountpoint);
	confine_system_calls(vm_set_runs_programs(fs->set));
	if (background >= 0) {
		log_init(LOG_TARGET_SYSTEM, fs->options->debug);
		background_ready(background);
	}
	vm_set_say_scratch(fs->set);
	fuse_loop_cfg_set_max_threads(config, FUSE_THREADS);
	fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
}

/* The loop has ended: nobody begins anything new.  Requests that are still
 * under way are answered before the mount goes, for that closes the FUSE
 * device. */
static void end(Filesystem *fs, struct fuse_session *session)
{
	fuse_remove_signal_handlers(session);
	vm_set_free(fs->set);
	unmount_session(session, fs->options->mountpoint, fs->device);
	utab_remove(fs->options->mountpoint);
	fuse_session_destroy(session);
	open_files_free(fs->files);
}

static int run(Options *options, int background)
{
	g_autoptr(GError) error = NULL;
	Filesystem fs = { .options = options };
	struct fuse_session *session;

	raise_descriptor_limit();
	fs.set = open_set(options, &error);
	if (!fs.set)
		return complain(error, EXIT_MOUNT);
	if (!options->snapshot_on_mkdir &&
	    vm_set_take_all(fs.set, options->strict, &error) == 0) {
		vm_set_free(fs.set);
		return complain(error, EXIT_MOUNT);
	}
	malloc_trim(0); /* QEMU's schema was large */
	clock_gettime(CLOCK_REALTIME, &fs.mounted);
	fs.files = open_files_new();
	session = mount_session(&fs, options);
	if (!session) {
		vm_set_free(fs.set);
		open_files_free(fs.files);
		return EXIT_MOUNT;
	}
	serve(&fs, session, background);
	end(&fs, session);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	Options options;
	g_autoptr(GError) error = NULL;
	int background = -1;
	int status;

	inherited_reset();
	background_take_open_fds();
	log_init(LOG_TARGET_STDERR, false);
	if (!options_parse(&options, argc, argv, &error)) {
		options_clear(&options);
		return complain(error, EXIT_USAGE);
	}
	log_init(LOG_TARGET_STDERR, options.debug);
	if (options.fake) {
		options_clear(&options);
		return EXIT_SUCCESS;
	}
	if (!options.foreground) {
		background = background_fork(&error);
		if (background < 0)
			return complain(error, EXIT_MOUNT);
	}
	status = run(&options, background);
	options_clear(&options);
	return status;
}
