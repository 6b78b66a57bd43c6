# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux with ext4 and xfs on virtio-blk and virtio-scsi, backed up live.

Its fio writes and verifies all the time, and a number is counted up on all
disks in turn.  Every copy has to be sound once its journal is replayed, and
its numbers have to be of the snapshot's instant.  With FLEECEFS_TESTS_FULL
there are hundreds of snapshots in a row, and a second guest with iothreads.
"""

import os
import subprocess

import pytest

import guest_copy
from guest_copy import NotSound
from linux_guest import LinuxGuest

FULL = bool(os.environ.get("FLEECEFS_TESTS_FULL"))
ROUNDS = 150 if FULL else 5         # with each method
# in the order in which the guest counts
DISKS = {"va": "ext4", "sda": "ext4", "vb": "xfs", "sdb": "xfs"}
WAYS = {"plain": ("filter", "job"), "iothread": ("filter",)}


class Backup:
    """The copies of one snapshot, and what the guest had said around it."""

    def __init__(self, guest, mnt, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.earliest = guest.acknowledged()
        os.mkdir(mnt.join("web01"))
        self.latest = guest.acknowledged() + 1
        for disk_id in DISKS:
            copy(mnt.join("web01", f"{disk_id}.raw"), self.path(disk_id))
        os.rmdir(mnt.join("web01"))

    def path(self, disk_id):
        return f"{self.directory}/{disk_id}.raw"

    def check(self):
        """Replay every journal; the number on each disk, in order."""
        counts = [guest_copy.recover(kind, self.path(disk_id))
                  for disk_id, kind in DISKS.items()]
        assert_one_instant(counts)
        assert self.earliest <= counts[-1], (self.earliest, counts)
        assert counts[0] <= self.latest, (counts, self.latest)
        return counts


def copy(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def assert_one_instant(counts):
    """A number is on the first disk first: none is behind by two."""
    for ahead, behind in zip(counts, counts[1:]):
        assert ahead in (behind, behind + 1), counts
    assert counts[0] - counts[-1] <= 1, counts


def assert_bad_copies_are_seen(first, second, tmp):
    """The negative controls: half a copy, and disks of two instants."""
    for disk_id, kind in DISKS.items():
        half = f"{tmp}/half.raw"
        leave_out_half(first.path(disk_id), half)
        with pytest.raises(NotSound):
            guest_copy.recover(kind, half)
    older, newer = first.check(), second.check()
    assert newer[-1] > older[0] + 1
    for mixed in (older[:1] + newer[1:], newer[:3] + older[3:]):
        with pytest.raises(AssertionError):
            assert_one_instant(mixed)


def leave_out_half(image, target, block=4096):
    """Every other block is a hole, but for the first few."""
    with open(image, "rb") as source, open(target, "wb") as out:
        for number in range(os.path.getsize(image) // block):
            data = source.read(block)
            if number < 4 or number % 2 == 0:
                out.seek(number * block)
                if data.strip(b"\0"):
                    out.write(data)
        out.truncate(os.path.getsize(image))


@pytest.mark.parametrize("way", list(WAYS) if FULL else ["plain"])
def test_backups(tmp, vm_factory, mount_factory, need_tool, way):
    for tool in ("mkfs.ext4", "e2fsck", "debugfs", "mkfs.xfs", "xfs_repair",
                 "fio", "gcc", "apt-get"):
        need_tool(tool)
    guest = LinuxGuest(tmp, vm_factory, DISKS, verify=True,
                       iothread=way == "iothread")
    before = guest.vm.state()
    last = 0
    for method in WAYS[way]:
        mnt = mount_factory(guest.vm.qmp_path, "snapshot=mkdir", "disk=?a:?b:"
                            "sd?", f"method={method}", name=method)
        for _ in range(ROUNDS):
            counts = Backup(guest, mnt, f"{tmp}/copies").check()
            assert counts[-1] >= last
            last = counts[-1]
            guest.wait_count(1)
        pair = [two_counts_later(guest, mnt, f"{tmp}/{number}")
                for number in "12"]
        assert_bad_copies_are_seen(*pair, tmp)
        mnt.umount()
    assert guest.vm.state() == before
    guest.wait_verified()


def two_counts_later(guest, mnt, directory):
    guest.wait_count(2)
    return Backup(guest, mnt, directory)
