# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes all the time: all disks of a VM are at one instant."""

import subprocess

import pytest

import guest
import images
import refusal
import scene
from deadline import wait_for
from qmp import Qmp
from qmpproxy import QmpProxy

RING = guest.Ring(slots=128, drives=2)
THREADED = [("virtio-blk", False), ("virtio-blk", True),
            ("virtio-scsi", False), ("virtio-scsi", True),
            ("ide", False), ("nvme", False)]


def newest_shown(living, mnt):
    """The newest count on each disk of the mount; each ring is checked."""
    return [RING.newest(RING.read(living.file(mnt, disk_id)))
            for disk_id in living.vm.disks]


@pytest.mark.parametrize("attachment, iothread", THREADED)
def test_one_instant(tmp, vm_factory, mount_factory, attachment, iothread):
    """Rings without a gap, at most one write apart, and they stay so."""
    living = scene.build_living(tmp, vm_factory, RING, disk_options={
        "attachment": attachment, "iothread": iothread})
    vm = living.vm
    mnt = mount_factory(vm.qmp_path)
    shas = [images.sha256(living.file(mnt, disk)) for disk in vm.disks]
    newest = newest_shown(living, mnt)
    guest.same_instant(newest)
    for disk_id in vm.disks:
        guest.wait_progress(vm, disk_id, 150)
    mnt.umount()
    living.assert_as_before()
    for disk_id in vm.disks:
        guest.wait_progress(vm, disk_id)
    again = mount_factory(vm.qmp_path, name="again")
    later = newest_shown(living, again)
    guest.same_instant(later)
    assert min(later) >= max(newest) + 150
    assert shas != [images.sha256(living.file(again, disk))
                    for disk in vm.disks]


@pytest.mark.parametrize("whose", ("ours", "theirs"))
def test_continued_meanwhile(tmp, vm_factory, mount_factory, whose):
    """Of a guest that is paused, several disks are at one instant only if it
    stays so: somebody has another monitor."""
    path = f"{tmp}/second"
    two = scene.build(tmp, vm_factory, [(disk, "raw", images.SIZE)
                                        for disk in ("va", "vb")],
                      args=[
        "-chardev", f"socket,id=second,path={path},server=on,wait=off",
        "-mon", "chardev=second,mode=control"])
    if whose == "theirs":
        two.vm.execute("stop")

    def let_go(_number, name):
        if name == "qom-set drive" and proxy.log.count(name) == 2:
            with Qmp(path) as second:
                second.execute("cont")

    with QmpProxy(f"{tmp}/web02.qmp", two.vm.qmp_path) as proxy:
        proxy.hook = let_go
        mnt = mount_factory(proxy.path, "timeout=5", check=False)
    assert proxy.log.count("qom-set drive") >= 2, proxy.log
    refusal.assert_refused(mnt, "VM web02", "it was continued")
    assert two.vm.run_state() == "running"
    two.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_reads_while_the_guest_writes(tmp, vm_factory, mount_factory, method):
    """Without the page cache, whole reads agree while the guest goes on."""
    living = scene.build_living(tmp, vm_factory, RING)
    vm = living.vm
    mnt = mount_factory(vm.qmp_path, f"method={method}", "discard")
    first = [images.sha256(living.file(mnt, disk)) for disk in vm.disks]
    for _ in range(3):
        for disk_id in vm.disks:
            guest.wait_progress(vm, disk_id, 50)
        assert first == [images.sha256(living.file(mnt, disk))
                         for disk in vm.disks]
    guest.same_instant(newest_shown(living, mnt))
    mnt.umount()
    living.assert_as_before()


def start_readers(path, size, count):
    """Processes that read the whole file, so many bytes at once, again and
    again until it fails."""
    return [subprocess.Popen(
        ["sh", "-c", 'while dd if="$1" of=/dev/null bs="$2"; do :; done',
         "reader", path, size], stderr=subprocess.DEVNULL)
        for _ in range(count)]


@pytest.mark.parametrize("words, size, count", (
    (("discard",), "1M", 1), ((), "1M", 1), (("discard",), "16k", 16)),
    ids=("direct", "ahead", "small"))
@pytest.mark.parametrize("iothread", (False, True))
def test_killed_daemon(tmp, vm_factory, mount_factory, iothread, words, size,
                       count):
    """kill -9 under readers: the guest lives on, QEMU is as it was, however
    much was under way."""
    living = scene.build_living(tmp, vm_factory, RING, disk_options={
        "iothread": iothread})
    vm = living.vm
    mnt = mount_factory(vm.qmp_path, *words)
    readers = [reader for disk in vm.disks for reader in start_readers(
        living.file(mnt, disk), size, count)]
    try:
        for disk in vm.disks:
            wait_for(lambda disk=disk:
                     mnt.disk_status("web01", disk)["read_bytes"] > 0,
                     what="the readers")
        mnt.process.kill()
        for reader in readers:
            wait_for(lambda reader=reader: reader.poll() is not None,
                     what="a reader's end")
        wait_for(lambda: not mnt.processes(), what="the guardian's end")
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    vm.check_alive()
    living.assert_as_before()
    for disk_id in vm.disks:
        guest.wait_progress(vm, disk_id)
    assert not mnt.mounted()
