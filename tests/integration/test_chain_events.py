# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a VM between a chain's snapshot and its commit.

The night is as good as another, or it cannot be committed; whatever the guest
writes meanwhile is in a later increment.
"""

import pytest

import files
import guest
import images
import scene
from chain import CLUSTER
from deadline import wait_for
from files import error_of
from nights import Nights
from qmp import QmpError
from test_events import migration_end

MiB = images.MiB
SIZE = 4 * MiB
DISKS = (("va", "qcow2", SIZE), ("vb", "qcow2", SIZE))
INCREMENTAL = {"va": None, "vb": None}


@pytest.fixture(params=("filter", "job"))
def nights(request, tmp, vm_factory, mount_factory):
    """A chain with a base, and a mount that takes punches."""
    two = scene.build(tmp, vm_factory, DISKS)
    chain = Nights(tmp, two, mount_factory, f"method={request.param}",
                   "discard", "read_timeout=20")
    chain.backup()
    yield chain
    chain.mnt.umount()


def reset(nights):
    nights.scene.vm.execute("system_reset")


def migrate(nights):
    """It fails at its end; QEMU has stored and loaded the bitmaps for it."""
    vm = nights.scene.vm
    vm.execute("migrate", {"uri": "exec:cat >/dev/null"})
    assert wait_for(lambda: migration_end(vm), what="the end") == "failed"
    wait_for(lambda: vm.run_state() == "running", what="the guest")


def savevm(nights):
    with nights.scene.vm.qmp() as qmp:
        said = qmp.hmp("savevm one")
        listed = qmp.hmp("info snapshots")
    assert ("one" in listed) == (not said), (said, listed)


def mirror(nights):
    """A storage migration of the disk: QEMU refuses it meanwhile."""
    vm = nights.scene.vm
    images.create(f"{nights.copies}/mirror.img", "qcow2", SIZE)
    root = vm.block_entry("va")["inserted"]["node-name"]
    with vm.qmp() as qmp:
        qmp.execute("blockdev-add", {
            "driver": "qcow2", "node-name": "mirror", "file": {
                "driver": "file",
                "filename": f"{nights.copies}/mirror.img"}})
        for node in ("va-fmt", root):
            with pytest.raises(QmpError, match="Need a root block node"):
                qmp.execute("blockdev-mirror", {
                    "job-id": "copy", "device": node, "target": "mirror",
                    "sync": "full"})
        qmp.execute("blockdev-del", {"node-name": "mirror"})


def a_night(nights, number, happens):
    """A backup to which something happens; the guest writes before it, then
    under the snapshot, and after that."""
    vm, at = nights.scene.vm, 4 * number * CLUSTER
    vm.write("va", at, CLUSTER, 0x10 + number)
    nights.snapshot()
    shown = images.sha256(nights.scene.file(nights.mnt, "va"))
    assert nights.modes() == INCREMENTAL
    assert (at, CLUSTER) in nights.dirty("va")
    vm.write("vb", at, CLUSTER, 0x20 + number)
    happens(nights)
    vm.write("vb", at + CLUSTER, CLUSTER, 0x30 + number)
    assert nights.update() == 0
    nights.assert_copied()
    assert shown == images.sha256(nights.scene.file(nights.mnt, "va"))
    nights.commit()
    vm.write("vb", at + 2 * CLUSTER, CLUSTER, 0x40 + number)
    nights.release()
    assert len(nights.checkpoints("va")) == 1
    return at, 3 * CLUSTER


def test_nights_to_which_something_happens(nights):
    """A reset, a migration that fails, an internal snapshot, a mirror."""
    for number, happens in enumerate((reset, migrate, savevm, mirror)):
        written = a_night(nights, number, happens)
        nights.snapshot()
        assert nights.modes() == INCREMENTAL
        assert nights.dirty("va") == []
        assert written in nights.dirty("vb"), happens
        assert nights.update() == 0
        nights.commit()
        nights.release()
    vm = nights.scene.vm
    for disk_id in vm.disks:
        copied = images.sha256(f"{nights.copies}/{disk_id}.raw")
        nights.snapshot()
        assert copied == images.sha256(nights.scene.file(nights.mnt, disk_id))
        nights.release()


def remove_exports(nights):
    with nights.scene.vm.qmp() as qmp:
        for export in qmp.execute("query-block-exports"):
            qmp.execute("block-export-del", {"id": export["id"],
                                             "mode": "hard"})


def stop_server(nights):
    nights.scene.vm.execute("nbd-server-stop")


def remove_pending(nights):
    """Whoever clears up bitmaps that he does not know."""
    vm = nights.scene.vm
    for name in nights.checkpoints("va"):
        if name.endswith(".pending"):
            vm.execute("block-dirty-bitmap-remove", {
                "node": "va-fmt", "name": name})


def cancel_jobs(nights):
    with nights.scene.vm.qmp() as qmp:
        for job in qmp.execute("query-block-jobs"):
            qmp.execute("block-job-cancel", {"device": job["device"],
                                             "force": True})
        wait_for(lambda: not qmp.execute("query-block-jobs"), what="jobs")


def test_what_is_ours_is_removed_by_others(nights):
    """Such a night is never committed, and the next one has it all."""
    by_job = any("method=job" in word for word in nights.mnt.command)
    before = nights.checkpoints("va")
    expected = []
    for number, remove in enumerate((remove_exports, stop_server)
                                    + (cancel_jobs,) * by_job):
        nights.scene.vm.write("va", 2 * number * CLUSTER, CLUSTER,
                              0x51 + number)
        expected.append((2 * number * CLUSTER, CLUSTER))
        nights.snapshot()
        assert nights.dirty("va") == expected, remove
        remove(nights)
        assert nights.update() != 0, remove
        assert error_of(nights.commit, force=True) in ("EIO", "ESTALE")
        nights.release()
        assert nights.checkpoints("va") == before, remove
    assert nights.backup()[0] == INCREMENTAL
    nights.snapshot()
    remove_pending(nights)
    assert nights.update() == 0
    nights.commit()
    nights.release()
    assert nights.backup()[0] == {"va": "new-disk", "vb": None}


def test_punched_night(nights):
    """What was freed counts as copied, in the maps and for the commit."""
    vm = nights.scene.vm
    vm.write("va", 0, 4 * CLUSTER, 0x61)
    nights.snapshot()
    assert nights.dirty("va") == [(0, 4 * CLUSTER)]
    assert nights.update() == 0
    nights.assert_copied()
    vm.write("va", 0, 8 * CLUSTER, 0x62)
    path = nights.scene.file(nights.mnt, "va")
    with open(path, "r+b", buffering=0) as file:
        files.punch(file.fileno(), 0, SIZE)
    assert error_of(files.read_at, path, 0, 512) == "ENODATA"
    assert nights.dirty("va") == [(0, 4 * CLUSTER)]
    assert nights.mnt.disk_status("web01", "va")["scratch_bytes"] == 0
    vm.write("va", CLUSTER, 512, 0x63)
    nights.commit()
    nights.release()
    assert nights.snapshot()["disks"][0]["reason"] is None
    assert nights.dirty("va") == [(0, 8 * CLUSTER)]
    assert nights.update() == 0
    nights.assert_copied()
    nights.release()


def test_reset_of_a_living_guest(tmp, vm_factory, mount_factory):
    """What it writes before and after is in the next increment."""
    ring = guest.Ring(slots=64, drives=2)
    living = scene.build_living(tmp, vm_factory, ring, size=SIZE)
    nights = Nights(tmp, living, mount_factory)
    nights.snapshot()
    living.vm.execute("system_reset")
    guest.wait_progress(living.vm, "vb")
    assert nights.update() == 0
    nights.assert_copied()
    nights.commit()
    nights.release()
    assert nights.backup()[0] == INCREMENTAL
    living.vm.execute("stop")
    nights.backup()
    for disk_id, disk in living.vm.disks.items():
        assert (images.sha256(f"{nights.copies}/{disk_id}.raw")
                == images.sha256(disk.image)), disk_id
    nights.mnt.umount()
