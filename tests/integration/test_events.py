# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen to a VM under a view: the answer is right or an error.

Readers are answered, never kept; the mount and the other VM live on; and the
end finds in QEMU what there is to undo.  Each event meets each method, with
and without iothreads, where FLEECEFS_TESTS_FULL is set; else one of them.
"""

import errno
import os
import signal
import subprocess

import pytest

import guest
import images
import scene
from deadline import wait_for
from events_world import SIZE, Reader, World
from qmp import QmpError

WAYS = (("filter", True), ("filter", False), ("job", False))
RING = guest.Ring(slots=64, drives=2)
FULL = bool(os.environ.get("FLEECEFS_TESTS_FULL"))


def refused(vm, command, arguments):
    """QEMU's words, with which it refuses a command."""
    with pytest.raises(QmpError) as refusal:
        vm.execute(command, arguments)
    return refusal.value.desc


def reset(world):
    world.vm.execute("system_reset")
    world.assert_live()


def powerdown(world):
    world.vm.execute("system_powerdown")
    world.assert_live()


def stop_and_cont(world):
    world.vm.execute("stop")
    world.one.assert_shown(world.mnt)
    world.vm.execute("cont")
    world.assert_live()


def migrate(world):
    """It fails at its end, and the VM goes on where it is."""
    world.vm.execute("migrate", {"uri": "exec:cat >/dev/null"})
    ended = wait_for(lambda: migration_end(world.vm), what="the migration")
    assert ended == "failed"
    wait_for(lambda: world.vm.run_state() == "running", what="the guest")
    world.assert_live()


def migration_end(vm):
    status = vm.execute("query-migrate").get("status")
    return status if status in ("completed", "failed") else None


def resize_disk_node(world):
    refused(world.vm, "block_resize",
            {"node-name": "va-fmt", "size": 2 * SIZE})
    world.assert_live()


def resize_root(world):
    """The node above the disk.  Were it made smaller, reads would abort, so
    it is refused; or it is done, and not shown."""
    larger, smaller = ({"node-name": world.root(), "size": size}
                       for size in (2 * SIZE, SIZE // 2))
    if world.method == "filter" and world.iothread:
        world.vm.execute("block_resize", larger)
        assert images.virtual_size(f"{world.tmp}/web01-va.img",
                                   "qcow2") == 2 * SIZE
    else:
        refused(world.vm, "block_resize", larger)
        refused(world.vm, "block_resize", smaller)
    world.assert_live()


def external_snapshot(world):
    """It slides in below; afterwards it is merged to see what is left."""
    world.vm.execute("blockdev-snapshot-sync", {
        "node-name": "va-fmt", "snapshot-file": f"{world.tmp}/overlay.img",
        "snapshot-node-name": "overlay"})
    world.assert_live()
    world.afterwards = merge_overlay


def merge_overlay(world):
    with world.vm.qmp() as qmp:
        qmp.execute("block-commit", {"job-id": "merge", "device": "overlay",
                                     "auto-dismiss": True})
        qmp.wait_event("BLOCK_JOB_READY", {"device": "merge"})
        qmp.execute("block-job-complete", {"device": "merge"})
        qmp.wait_event("BLOCK_JOB_COMPLETED", {"device": "merge"})


def mirror(world):
    """A mirror of the disk, as storage migration makes it, and its end."""
    images.create(f"{world.tmp}/mirror.img", "qcow2", SIZE)
    world.vm.execute("blockdev-add", {
        "driver": "qcow2", "node-name": "mirror", "file": {
            "driver": "file", "filename": f"{world.tmp}/mirror.img"}})
    for node in {"va-fmt", world.root()}:
        try:
            start_and_cancel(world, node)
        except QmpError as error:
            assert "ode" in error.desc or "use" in error.desc, error
    world.assert_live()
    world.vm.execute("blockdev-del", {"node-name": "mirror"})


def start_and_cancel(world, node):
    with world.vm.qmp() as qmp:
        qmp.execute("blockdev-mirror", {
            "job-id": "copy", "device": node, "target": "mirror",
            "sync": "full"})
        qmp.wait_event("BLOCK_JOB_READY", {"device": "copy"})
        world.one.assert_shown(world.mnt)
        qmp.execute("block-job-cancel", {"device": "copy", "force": True})
        qmp.wait_event("BLOCK_JOB_CANCELLED", {"device": "copy"})


def savevm(world):
    """Refused, or made: the view stays as it is."""
    with world.vm.qmp() as qmp:
        qmp.hmp("savevm one")
    world.assert_live()


def unplug(world):
    """The disk's view stays, and its end finds nothing to put back."""
    with world.vm.qmp() as qmp:
        qmp.execute("device_del", {"id": "sb"})
        qmp.wait_event("DEVICE_DELETED", {"device": "sb"})
    world.one.assert_shown(world.mnt)
    qdev = world.vm.qdev("sb")
    world.one.before["devices"].pop(qdev)
    world.one.before["peripherals"].remove("sb")


def exports_of(vm):
    return [export["id"] for export in vm.execute("query-block-exports")]


def remove_exports(world):
    """block-export-del by somebody: no byte is shown any more."""
    for export in exports_of(world.vm):
        world.vm.execute("block-export-del", {"id": export, "mode": "hard"})
    assert_lost(world)


def stop_nbd_server(world):
    world.vm.execute("nbd-server-stop")
    assert_lost(world)


def assert_lost(world):
    """Reads fail, and they say so at once; the guest writes."""
    for disk_id in world.one.expected:
        assert_refused(world, disk_id)
    assert world.state() in ("gone", "broken")
    world.one.overwrite_all("va", 0x5d)


def assert_refused(world, disk_id):
    """Any read of a disk is an error, of an errno that is documented."""
    with pytest.raises(OSError) as error:
        images.sha256(world.one.file(world.mnt, disk_id))
    assert error.value.errno in (errno.EIO, errno.ESTALE), error.value


def remove_filter(world):
    """Somebody puts the disk back below its device, or ends our job.

    With a filter it is refused; without the job reads end, and never show
    what is on the disk now.
    """
    if world.method == "filter":
        refused(world.vm, "qom-set", {
            "path": world.vm.qdev("va"), "property": "drive",
            "value": "va-fmt"})
        world.assert_live()
        return
    with world.vm.qmp() as qmp:
        for job in qmp.execute("query-block-jobs"):
            qmp.execute("block-job-cancel", {"device": job["device"],
                                             "force": True})
        wait_for(lambda: not qmp.execute("query-block-jobs"), what="jobs")
    assert_lost(world)


def killed(world):
    """kill -9 of QEMU while readers are in the middle."""
    readers = [Reader(world.one.file(world.mnt, disk_id))
               for disk_id in world.one.expected]
    world.vm.kill()
    assert [reader.refused() for reader in readers] == [errno.EIO] * 2
    assert world.state() == "gone"
    world.one.before = None


def quits(world):
    readers = [Reader(world.one.file(world.mnt, disk_id))
               for disk_id in world.one.expected]
    world.vm.quit()
    assert [reader.refused() for reader in readers] == [errno.EIO] * 2
    assert world.state() == "gone"
    world.one.before = None


def hangs(world):
    """A signal ends a reader at once, and read_timeout all the others."""
    world.vm.pause_process()
    try:
        assert_ends(world, signal.SIGINT)
        assert_refused(world, "va")
        wait_for(lambda: world.state() == "gone", what="gone")
    finally:
        world.vm.continue_process()


def assert_ends(world, sig):
    """A cp that waits for QEMU is gone by a signal, as any process (which a
    shell's background job would ignore)."""
    reader = subprocess.Popen(["cp", world.one.file(world.mnt, "sb"),
                               "/dev/null"],
                              preexec_fn=lambda: signal.signal(
                                  sig, signal.SIG_DFL))
    try:
        wait_for(lambda: waits_for_fuse(reader.pid), what="a read under way")
        assert world.state() == "live"
        reader.send_signal(sig)
        wait_for(lambda: reader.poll() is not None, 15, "cp's end")
        assert reader.returncode == -sig
        assert world.state() == "live"
    finally:
        reader.kill()
        reader.wait()


def waits_for_fuse(pid):
    """Whether the process is in a read that the daemon has not answered."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "request_wait_answer" in file.read()


EVENTS = {what.__name__: what for what in (
    reset, powerdown, stop_and_cont, migrate, resize_disk_node, resize_root,
    external_snapshot, mirror, savevm, unplug, remove_exports,
    stop_nbd_server, remove_filter, killed, quits, hangs)}


def chosen():
    """Every event with each way, or with one of them in turn."""
    return [pytest.param(name, *way, id=f"{name}-{way[0]}"
                         + ("-iothread" if way[1] else ""))
            for number, name in enumerate(EVENTS)
            for turn, way in enumerate(WAYS)
            if FULL or turn == number % len(WAYS)]


@pytest.mark.parametrize("event, method, iothread", chosen())
def test_event(tmp, vm_factory, mount_factory, event, method, iothread):
    world = World(tmp, vm_factory, mount_factory, method, iothread)
    EVENTS[event](world)
    world.end()


def test_reset_of_a_guest_with_iothreads(tmp, vm_factory, mount_factory):
    """Its driver lets go of the threads and takes them again: the exports
    stay where they are (quirks.c), for a move of theirs can abort QEMU."""
    living = scene.build_living(tmp, vm_factory, RING,
                                disk_options={"iothread": True})
    mnt = mount_factory(living.vm.qmp_path, "discard")
    shown = [images.sha256(living.file(mnt, disk)) for disk in living.vm.disks]
    for _ in range(4):
        living.vm.execute("system_reset")
        guest.wait_progress(living.vm, "vb")
    assert shown == [images.sha256(living.file(mnt, disk))
                     for disk in living.vm.disks]
    mnt.umount()
    guest.wait_progress(living.vm, "vb")
    living.assert_as_before()
