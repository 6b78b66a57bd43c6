/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs-ops.h"

typedef struct {
	const Filesystem *fs;
	Snapshot *snapshot; /* NULL where there was none */
	VmDone *done;
	void *opaque;
} Release;

/* An old descriptor is ESTALE from now on, also for what was read before. */
static void drop_pages(const Release *release)
{
	static const enum node_kind kinds[] = { NODE_RAW, NODE_DELTA };

	for (unsigned i = 0; i < snapshot_n_disks(release->snapshot); i++) {
		for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++)
			fuse_lowlevel_notify_inval_inode(release->fs->session,
				fs_node_disk_id(release->snapshot, i,
					kinds[k]), 0, 0);
	}
}

static void released(void *opaque, const GError *error)
{
	g_autofree Release *release = opaque;
	g_autoptr(Snapshot) snapshot = release->snapshot;

	if (snapshot &&
	    snapshot_get_state(snapshot, NULL) == SNAPSHOT_RELEASED)
		drop_pages(release);
	release->done(release->opaque, error);
}

void fs_release_vm(const Filesystem *fs, Vm *vm, bool force, VmDone *done,
	void *opaque)
{
	Release *release = g_new(Release, 1);

	*release = (Release){ fs, vm_snapshot(vm), done, opaque };
	vm_set_submit(fs->set, vm, VM_RELEASE, force, released, release);
}
