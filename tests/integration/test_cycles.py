# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshot after snapshot of a guest that writes: nothing grows.

FLEECEFS_TEST_CYCLES says how many; each is copied and the copy is one
instant.  Use of memory is only judged where no sanitizer keeps what was
freed; leaks are found there by LeakSanitizer.  pytest -rP shows the readings.
"""

import os
import shutil

import pytest

import guest
import images
import scene
from growth import Growth

CYCLES = int(os.environ.get("FLEECEFS_TEST_CYCLES", "4"))
RING = guest.Ring(slots=256, drives=2)
# a machine that is busy for a minute is no failed copy
PATIENCE = 120
WAYS = (("filter", False), ("filter", True), ("job", False))

# What QEMU 7.2 keeps by itself, and no order of commands avoids:
#
# Coroutines that have ended, each with a stack of 4 KiB, to be used again.  A
# thread that has none left takes all of a common pool, and the others make new
# ones: with iothreads there are more and more, also if nothing but stop and
# cont is sent.  The pool's limit follows the disks' queues; with two of 256 it
# is 640, and after 900 mounts there were 762 coroutines, which is 3 MiB.  A
# debugger found all 762 in the pools, so no mount had left one; and where the
# limit (pool_max_size) was set to 0 after 2,400 cycles of the same commands,
# 2 of 944 were there 100 cycles later.  With short queues the pool is full
# before the readings count: 271 coroutines after 100 mounts, 282 after 400.
#
# The name in each qom-set of a drive, which set_drive_helper() does not free:
# 64 bytes for each disk and snapshot by filter, with iothreads or without.  Of
# 425 mounts with short queues, which left 1,700 allocations of this kind and 4
# of coroutines, an interposer on malloc() counted no other that stayed.
SHORT_QUEUE = {"queue-size": 16}


class Cycles:
    """A writing VM with two disks, scratch of its own, and its copies."""

    def __init__(self, tmp, vm_factory, scratch, method, iothread):
        self.tmp, self.method, self.scratch = tmp, method, scratch
        self.living = scene.build_living(
            tmp, vm_factory, RING, size=4 * images.MiB,
            disk_options={"iothread": iothread, "options": SHORT_QUEUE})
        self.vm = self.living.vm
        self.newest = 0
        self.free = os.statvfs(scratch).f_bfree

    def words(self, *more):
        return (f"method={self.method}", f"scratch={self.scratch}",
                "discard", f"timeout={PATIENCE}", *more)

    def copy(self, mnt):
        """A copy of each disk; it is one instant, later than the last."""
        counts = []
        for disk_id in self.vm.disks:
            path = f"{self.tmp}/{disk_id}.copy"
            shutil.copyfile(self.living.file(mnt, disk_id), path)
            counts.append(RING.newest(RING.read(path)))
        guest.same_instant(counts)
        assert counts[0] > self.newest, (counts, self.newest)
        self.newest = counts[0]

    def assert_over(self):
        """Nothing of a snapshot is left, in QEMU or in scratch."""
        self.living.assert_as_before()
        assert os.statvfs(self.scratch).f_bfree == self.free


@pytest.fixture
def scratch(tmpfs):
    """A filesystem of its own: its free space shows what is left there."""
    return tmpfs("32m")


@pytest.fixture
def sanitized(fleecefs):
    """Whether the daemon has a sanitizer, whose own memory grows with use."""
    with open(fleecefs, "rb") as file:
        program = file.read()
    return b"__asan_init" in program or b"__tsan_init" in program


@pytest.mark.parametrize("method, iothread", WAYS)
def test_mounts(tmp, scratch, vm_factory, mount_factory, method, iothread):
    """Each cycle is a new daemon; QEMU and scratch are as before."""
    one = Cycles(tmp, vm_factory, scratch, method, iothread)
    use = Growth(qemu=one.vm.pid)
    for _ in range(CYCLES):
        mnt = mount_factory(one.vm.qmp_path, *one.words(), deadline=PATIENCE)
        one.copy(mnt)
        mnt.umount()
        one.assert_over()
        use.note()
    guest.wait_progress(one.vm, "va")
    print(use.summary())
    use.assert_none("qemu")


@pytest.mark.parametrize("method, iothread", WAYS)
def test_directories(tmp, scratch, vm_factory, mount_factory, sanitized,
                     method, iothread):
    """One daemon for all of them; it and its guardian do not grow."""
    one = Cycles(tmp, vm_factory, scratch, method, iothread)
    mnt = mount_factory(one.vm.qmp_path, *one.words("snapshot=mkdir"))
    use = None
    for _ in range(CYCLES):
        os.mkdir(mnt.join("web01"))
        one.copy(mnt)
        os.rmdir(mnt.join("web01"))
        one.assert_over()
        # the first one starts threads, which have descriptors
        use = use or growth_of(one.vm, mnt)
        use.note()
    guest.wait_progress(one.vm, "va")
    mnt.umount()
    print(use.summary())
    use.assert_none("qemu", *([] if sanitized else ["daemon", "guardian"]))


def growth_of(vm, mnt):
    (guardian,) = [pid for pid in mnt.processes() if pid != mnt.pid]
    return Growth(qemu=vm.pid, daemon=mnt.pid, guardian=guardian)
