# SPDX-License-Identifier: GPL-2.0-or-later
"""Increments do not lose what is written while a guest stands still.

A pause holds back the guest and nobody else: a block job, an NBD client or a
monitor goes on writing.  Here the monitor writes before every command of a
set-up, each time to another cluster of each disk.
"""

import contextlib

import pytest

import images
import qmp
import scene
from files import error_of
from nights import Nights
from qmpproxy import QmpProxy
from refusal import said_by

CLUSTER = 64 * images.KiB
SIZE = 16 * images.MiB
DISKS = ("va", "vb")


class Stage:
    """A chain with a base; what is written is numbered by the commands."""

    def __init__(self, tmp, vm_factory, disks, iothread):
        self.second = f"{tmp}/second"
        self.scene = scene.build(
            tmp, vm_factory, [(disk, "raw", SIZE) for disk in DISKS[:disks]],
            disk_options={"iothread": iothread},
            args=["-chardev", f"socket,id=second,path={self.second},"
                  "server=on,wait=off", "-mon",
                  "chardev=second,mode=control"])
        self.disks = list(self.scene.vm.disks)
        self.devices = [self.scene.vm.qdev(disk) for disk in self.disks]
        self.instants = {}      # disk -> number of the command that made it

    def write(self, number, name):
        """The proxy's hook."""
        with qmp.Qmp(self.second) as second:
            for device in self.devices:
                said = second.hmp(f'qemu-io -d {device} "write -P '
                                  f'{number} {number * CLUSTER} {CLUSTER}"')
                assert not said, said
        if name == "qom-set drive" and len(self.instants) < len(self.disks):
            disk = self.disks[len(self.instants)]
            self.instants[disk] = number
        elif name == "transaction" and self.by_job:
            self.instants = dict.fromkeys(self.disks, number)

    @property
    def by_job(self):
        return self.method == "job"

    def nights(self, tmp, mount_factory, proxy, method, *words):
        """A base, and then a mount whose snapshots are disturbed."""
        self.method = method
        vm = self.scene.vm
        proxy.target = vm.qmp_path
        with reached_at(vm, proxy.path):
            base = Nights(tmp, self.scene, mount_factory, "name=web01",
                          f"method={method}", name="base")
            base.backup()
            base.mnt.umount()
            proxy.arm()
            return Nights(tmp, self.scene, mount_factory, "name=web01",
                          f"method={method}", *words)

    def written_before(self, disk):
        """The clusters that were written before the disk's instant."""
        return set(range(1, self.instants[disk] + 1))


@contextlib.contextmanager
def reached_at(vm, path):
    """Somebody else stands between us and the VM's monitor."""
    own, vm.qmp_path = vm.qmp_path, path
    try:
        yield
    finally:
        vm.qmp_path = own


@pytest.fixture
def proxy(tmp):
    with QmpProxy(f"{tmp}/proxy.qmp", "set by the stage") as one:
        yield one


def dirty_clusters(nights, disk):
    return {start // CLUSTER + number for start, length
            in nights.dirty(disk) for number in range(-(-length // CLUSTER))}


@pytest.mark.parametrize("disks, iothread, method", (
    (1, False, "filter"), (1, True, "filter"), (2, False, "filter"),
    (2, True, "filter"), (2, False, "job")))
def test_writes_at_every_command(tmp, vm_factory, mount_factory, proxy, disks,
                                 iothread, method):
    """Base and increment are the snapshot, which has all that was before."""
    stage = Stage(tmp, vm_factory, disks, iothread)
    nights = stage.nights(tmp, mount_factory, proxy, method)
    proxy.hook = stage.write
    nights.snapshot()
    proxy.hook = None
    assert nights.modes() == dict.fromkeys(stage.disks)
    assert nights.update() == 0
    nights.assert_copied()
    for disk in stage.disks:
        before = stage.written_before(disk)
        assert len(proxy.log) > len(before) > 3
        assert before <= dirty_clusters(nights, disk)
        with open(stage.scene.file(nights.mnt, disk), "rb") as file:
            shown = file.read()
        for number in range(1, len(proxy.log) + 1):
            cluster = shown[number * CLUSTER:(number + 1) * CLUSTER]
            assert (cluster == bytes([number]) * CLUSTER) == (
                number in before), number
    nights.commit()
    nights.release()
    nights.mnt.umount()


def test_what_a_limited_filter_missed(tmp, vm_factory, mount_factory, proxy):
    """There is no such snapshot rather than one that lacks something."""
    stage = Stage(tmp, vm_factory, 1, False)
    nights = stage.nights(tmp, mount_factory, proxy, "filter", "view=delta")
    state = stage.scene.vm.state()
    proxy.hook = stage.write
    assert error_of(nights.snapshot) == "EAGAIN"
    proxy.hook = None
    assert "something else than the guest" in said_by(nights.mnt)
    assert stage.scene.vm.state() == state
    nights.snapshot()
    assert stage.written_before("va") <= dirty_clusters(nights, "va")
    nights.release()
    nights.mnt.umount()
