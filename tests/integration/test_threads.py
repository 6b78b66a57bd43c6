# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that a guest has left in their iothreads, snapshot again.

A disk stays in its thread while an export stands (quirks.c), so a guest that
is stopped meanwhile cannot give it back.  A QEMU before 9.0 would abort when
the next snapshot is built there: the disks have a throttle, whose drain needs
the thread.  Where that is no harm, there is a snapshot.
"""

import pytest

import guest
import scene
from deadline import wait_for
from mount import MOUNT_FAILED

REFUSAL = "disk va: it is in its iothread although the guest stands still"
RING = guest.Ring(slots=128, drives=2)


@pytest.fixture
def living(tmp, vm_factory):
    """A guest that writes to two throttled disks, each in a thread."""
    return scene.build_living(tmp, vm_factory, RING, disk_options={
        "iothread": True, "throttle": True})


def umount(mnt):
    mnt.umount()


def kill_both(mnt):
    """What is left in QEMU the next one undoes."""
    mnt.kill()
    mnt.cleanup()


def assert_one_instant(living, mnt):
    guest.same_instant([RING.newest(RING.read(living.file(mnt, disk)))
                        for disk in living.vm.disks])


def meet_disk_in_its_thread(living, mount_factory):
    """A mount that is refused where it would abort QEMU, and else right."""
    aborts = living.vm.version < (9, 0)
    mnt = mount_factory(living.vm.qmp_path, name="met", check=not aborts)
    if not aborts:
        assert_one_instant(living, mnt)
        mnt.umount()
        return
    assert mnt.returncode == MOUNT_FAILED, mnt.report()
    assert REFUSAL in mnt.stderr(), mnt.report()


@pytest.mark.parametrize("end", (umount, kill_both))
def test_paused_meanwhile(living, mount_factory, end):
    """Refused while it is paused, and goes once it has run."""
    vm = living.vm
    mnt = mount_factory(vm.qmp_path)
    vm.execute("stop")
    end(mnt)
    meet_disk_in_its_thread(living, mount_factory)
    assert vm.execute("query-status")["status"] == "paused"
    vm.execute("cont")
    guest.wait_progress(vm, "vb")
    with_pause = mount_factory(vm.qmp_path, name="running")
    assert_one_instant(living, with_pause)
    with_pause.umount()
    vm.execute("stop")
    again = mount_factory(vm.qmp_path, name="again")
    assert_one_instant(living, again)
    again.umount()
    vm.execute("cont")
    guest.wait_progress(vm, "vb")
    living.assert_as_before()


@pytest.mark.parametrize("words", (("stop", "cont"), ("system_reset",)))
def test_stopped_for_a_moment(living, mount_factory, words):
    """The guest's driver has started the devices since."""
    vm = living.vm
    for number in range(3):
        mnt = mount_factory(vm.qmp_path, name=f"mnt{number}")
        for word in words:
            vm.execute(word)
        guest.wait_progress(vm, "vb")
        mnt.umount()
    guest.wait_progress(vm, "vb")
    living.assert_as_before()


def mirror(vm):
    """A block job on va that takes its time; what ends it."""
    inserted = vm.block_entry("va")["inserted"]
    vm.execute("blockdev-add", {
        "driver": "null-co", "node-name": "target",
        "size": inserted["image"]["virtual-size"]})
    vm.execute("blockdev-mirror", {
        "job-id": "mirror", "device": inserted["node-name"],
        "target": "target", "sync": "full", "speed": 65536})

    def end():
        vm.execute("block-job-cancel", {"device": "mirror", "force": True})
        wait_for(lambda: not vm.execute("query-block-jobs"), what="its end")
        vm.execute("blockdev-del", {"node-name": "target"})
    return end


def meet_job(living, mount_factory):
    """Refused, wherever the disk is (test_jobs.py)."""
    mnt = mount_factory(living.vm.qmp_path, name="met", check=False)
    assert mnt.returncode == MOUNT_FAILED, mnt.report()
    assert "disk va: the block job mirror" in mnt.stderr(), mnt.report()


@pytest.mark.parametrize("throttle", (False, True), ids=("job", "throttle"))
def test_scsi(tmp, vm_factory, mount_factory, throttle):
    """virtio-scsi keeps its disks there, and the guest lives."""
    living = scene.build_living(tmp, vm_factory, RING, disk_options={
        "iothread": True, "throttle": throttle, "attachment": "virtio-scsi"})
    end = None if throttle else mirror(living.vm)
    meet = meet_disk_in_its_thread if throttle else meet_job
    meet(living, mount_factory)
    guest.wait_progress(living.vm, "vb")
    if end:
        end()
        mnt = mount_factory(living.vm.qmp_path)
        assert_one_instant(living, mnt)
        mnt.umount()
    living.assert_as_before()
