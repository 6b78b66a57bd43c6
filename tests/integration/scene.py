# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM with disks of known content, and what the mount must show of it.

The content at the instant is written down before the VM starts; until the
mount nobody writes, so that is what the mount must show, whatever the guest
does later.
"""

import os
from dataclasses import dataclass, field

import guest
import images
from disk import Disk

ODD_SIZE = 10 * images.MiB + 7 * 512


@dataclass
class Scene:
    """A running VM; expected maps a disk to a raw file of its content."""
    vm: object
    expected: dict = field(default_factory=dict)
    before: dict = None

    def sha(self, disk_id):
        return images.sha256(self.expected[disk_id])

    def size(self, disk_id):
        return os.path.getsize(self.expected[disk_id])

    def file(self, mnt, disk_id, suffix="raw"):
        """The path of one of the disk's files in a mount."""
        return mnt.join(self.vm.name, f"{disk_id}.{suffix}")

    def assert_shown(self, mnt, *disk_ids):
        """The mount shows the whole content at the instant."""
        for disk_id in disk_ids or self.expected:
            path = self.file(mnt, disk_id)
            assert os.stat(path).st_size == self.size(disk_id)
            assert images.sha256(path) == self.sha(disk_id), disk_id

    def overwrite_all(self, disk_id, pattern=0xee):
        """The guest fills the whole disk; the negative control is in it."""
        size = self.size(disk_id) // 512 * 512
        for at in range(0, size, images.MiB):
            self.vm.write(disk_id, at, min(images.MiB, size - at), pattern)
        self.vm.reads(disk_id, 0, images.MiB, pattern)

    def assert_as_before(self):
        """QEMU has nothing of ours left."""
        now = self.vm.state()
        differs = {key: (value, now[key])
                   for key, value in self.before.items() if now[key] != value}
        assert not differs, differs


def of_disks(tmp, vm_factory, disks, name="web01", **vm_options):
    """Start a VM with disks whose images are made; note the state."""
    expected = {disk.id: images.to_raw(
        disk.image, disk.fmt, f"{tmp}/{name}-{disk.id}.expected")
        for disk in disks}
    vm = vm_factory(name, disks, **vm_options)
    return Scene(vm, expected, vm.state())


def build(tmp, vm_factory, disks=(("va", "raw", images.SIZE),), name="web01",
          patterns=(), disk_options=None, **vm_options):
    """Make images from (id, kind, size), start the VM, note the state."""
    made = []
    for number, (disk_id, kind, size) in enumerate(disks):
        path = images.make(kind, f"{tmp}/{name}-{disk_id}.img", size,
                           seed=10 * number + 1, patterns=patterns)
        made.append(Disk(disk_id, path, images.fmt_of(kind),
                         **(disk_options or {})))
    return of_disks(tmp, vm_factory, made, name, **vm_options)


def build_served(tmp, daemon_factory, disks):
    """The same of a storage daemon: the guest is whoever uses its FUSE
    exports, which fleecefs takes with unsafe_qemu alone."""
    def factory(name, made, fuse=True):
        return daemon_factory(name, made, fuse=fuse)

    return build(tmp, factory, disks)


def build_living(tmp, vm_factory, ring=guest.Ring(drives=2), name="web01",
                 size=32 * images.MiB, disk_options=None, **vm_options):
    """A VM whose guest writes all the time on its raw disks va, vb …"""
    disks = []
    for number in range(1, ring.drives + 1):
        disk_id = "v" + "abcdefgh"[number - 1]
        path = images.create(f"{tmp}/{name}-{disk_id}.img", size=size)
        disks.append(Disk(disk_id, path, boot=number, **(disk_options or {})))
    guest.install(disks[0].image, ring)
    vm = vm_factory(name, disks, **vm_options)
    for disk in disks:
        guest.wait_progress(vm, disk.id)
    return Scene(vm, {}, vm.state())
