/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "domain-build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "scratch-image.h"

bool domain_scratch_note(DomainBuild *build, GError **error)
{
	for (guint i = 0; i < build->disks->len; i++) {
		DomainDisk *disk = build->disks->pdata[i];

		if (disk->chosen && (!domain_plan_size(build, disk, error) ||
			    !undo_list_add(build->request->undo, UNDO_FILE,
				    disk->scratch, NULL, NULL, NULL, error)))
			return false;
	}
	return true;
}

bool domain_scratch_make(const DomainBuild *build, GError **error)
{
	domain_scratch_remove(build);
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		if (disk->chosen && !scratch_image_make(disk->scratch,
				disk->size, error))
			return false;
	}
	return true;
}

void domain_scratch_remove(const DomainBuild *build)
{
	for (guint i = 0; i < build->disks->len; i++) {
		const DomainDisk *disk = build->disks->pdata[i];

		unlink(disk->scratch);
	}
}

bool domain_scratch_is_out_of_reach(const DomainBuild *build,
	const char *message)
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

int domain_scratch_open(const DomainBuild *build, const DomainDisk *disk)
{
	int fd = build->socket ?
		open(disk->scratch, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0 && build->socket)
		g_message("disk %s: how much scratch it takes cannot be seen: "
			"%s: %s", disk->disk->target, disk->scratch,
			g_strerror(errno));
	return fd;
}
