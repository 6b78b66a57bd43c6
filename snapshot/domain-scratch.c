/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "scratch-image.h"
#include "scratch-probe.h"

bool domain_scratch_note(DomainBuild *build, GError **error)
{
	const Settings *settings = build->request->settings;

	/* else the undo would hang, too */
	if (!scratch_check_answers(settings->scratch, settings->timeout_ms,
		    error))
		return false;
	for (guint i = 0; i < build->disks->len; i++) {
		DomainDisk *disk = build->disks->pdata[i];

		if (disk->chosen && (!domain_plan_size(build, disk, error) ||
			    !undo_list_add(build->request->undo, UNDO_FILE,
				    disk->scratch, NULL, NULL, NULL, error)))
			return false;
	}
	return true;
}

/* libvirt gives it to whom QEMU runs as, and then only root can remove it
 * wherever it is. */
bool domain_scratch_is_ours(const DomainBuild *build)
{
	return !build->remote && !build->foreign_scratch && geteuid() == 0;
}

static void remove_all(const DomainBuild *build)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		unlink(disk->scratch);
	}
}

bool domain_scratch_make(const DomainBuild *build, GError **error)
{
	if (!domain_scratch_is_ours(build))
		return true;
	remove_all(build);
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		if (disk->chosen && !scratch_image_make(disk->scratch,
				disk->size, error))
			return false;
	}
	return true;
}

static bool is_out_of_reach(const DomainBuild *build, const char *message)
{
	bool found = false;

	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];
		g_autofree char *words = g_strdup_printf("Could not open '%s'",
			disk->scratch);

		found = found || strstr(message, words);
	}
	return found;
}

bool domain_scratch_leave(DomainBuild *build, const char *message)
{
	if (!domain_scratch_is_ours(build) || !is_out_of_reach(build, message))
		return false;
	g_message("VM %s: libvirt makes the scratch: %s", build->request->vm,
		message);
	remove_all(build);
	build->foreign_scratch = true;
	return true;
}

int domain_scratch_open(const DomainBuild *build, const DomainDisk *disk)
{
	int fd = build->socket ?
		open(disk->scratch, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd >= 0 && domain_scratch_is_ours(build))
		unlink(disk->scratch);
	if (fd < 0 && build->socket)
		g_message("disk %s: how much scratch it takes cannot be seen: "
			"%s: %s", disk->disk->target, disk->scratch,
			g_strerror(errno));
	return fd;
}
