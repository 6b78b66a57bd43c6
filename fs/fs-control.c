/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

#include <errno.h>
#include <string.h>

#include "fleece-error.h"

typedef struct {
	Vm *vm;
	enum vm_verb verb;
	bool force;
} Command;

/* A write that has been understood and waits for its worker. */
typedef struct {
	fuse_req_t req;
	size_t size;
} Pending;

static void command_done(void *opaque, const GError *error)
{
	g_autofree Pending *pending = opaque;

	if (error) {
		g_warning("%s", error->message);
		fuse_reply_err(pending->req, fleece_error_errno(error));
	} else {
		fuse_reply_write(pending->req, pending->size);
	}
}

static int parse_words(VmSet *set, char **words, Command *command)
{
	unsigned n = g_strv_length(words);

	if (n < 2)
		return EINVAL;
	command->force = n == 3 && g_str_equal(words[2], "--force");
	if (n == 3 && !command->force)
		return EINVAL;
	if (g_str_equal(words[0], "snapshot") && n == 2)
		command->verb = VM_TAKE;
	else if (g_str_equal(words[0], "commit") && n <= 3)
		command->verb = VM_COMMIT;
	else if (g_str_equal(words[0], "release") && n <= 3)
		command->verb = VM_RELEASE;
	else
		return EINVAL;
	command->vm = vm_set_find(set, words[1]);
	return command->vm ? 0 : ENOENT;
}

/* One command, one line, with or without its newline. A VM's name may hold
 * spaces only where they are escaped as in shell quoting. */
static int parse(VmSet *set, const char *buf, size_t size, Command *command)
{
	g_autofree char *line = g_strndup(buf, size);
	g_auto(GStrv) words = NULL;

	if (strlen(line) != size)
		return EINVAL;
	g_strchomp(line);
	if (strchr(line, '\n') || !g_shell_parse_argv(line, NULL, &words,
		    NULL))
		return EINVAL;
	return parse_words(set, words, command);
}

static bool may_control(fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == fs_of(req)->options->uid;
}

void fs_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi)
{
	const FsFile *file = fs_file_of(fi);
	const Filesystem *fs = fs_of(req);
	Command command;
	Pending *pending;
	int error;

	if (file->node.kind != NODE_CONTROL) {
		fuse_reply_err(req, EROFS);
		return;
	}
	error = may_control(req) ? parse(fs->set, buf, size, &command) : EACCES;
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	pending = g_new(Pending, 1);
	*pending = (Pending){ req, size };
	if (command.verb == VM_RELEASE)
		fs_release_vm(fs, command.vm, command.force, command_done,
			pending);
	else
		vm_set_submit(fs->set, command.vm, command.verb, command.force,
			command_done, pending);
}
