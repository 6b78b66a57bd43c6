# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading in a row, at random and both at once, and what ends it.

What is read ahead is never seen: the bytes are those of the instant, and a
punch, a break and a loss are what they are without.
"""

import os
import random
import threading

import pytest

import files
import images
import scene
from deadline import wait_for
from files import error_of, read_at
from images import KiB, MiB

SIZE = 24 * MiB + 5 * 512
DISK = (("va", "raw", SIZE),)


def full(tmp, vm_factory):
    """A VM whose disk has other bytes everywhere, but for a hole."""
    path = images.create(f"{tmp}/web01-va.img", size=SIZE)
    images.write_random(path, "raw", 0, 15 * MiB + 100 * 512, 7)
    images.write_random(path, "raw", 18 * MiB, SIZE - 18 * MiB, 8)
    return scene.of_disks(tmp, vm_factory, [scene.Disk("va", path)])


class Readers:
    """Threads that read one open file and compare; errors are collected."""

    def __init__(self, path, expected):
        self.fd = os.open(path, os.O_RDONLY)
        with open(expected, "rb") as file:
            self.bytes = file.read()
        self.wrong = []

    def check(self, offset, length):
        found = os.pread(self.fd, length, offset)
        if found != self.bytes[offset:offset + length]:
            self.wrong.append((offset, length, len(found)))

    def in_a_row(self, step, start=0):
        for at in range(start, len(self.bytes), step):
            self.check(at, step)

    def at_random(self, seed):
        rand = random.Random(seed)
        for _ in range(300):
            self.check(rand.randrange(len(self.bytes)),
                       rand.choice((1, 512, 4096, 70000, 300000)))

    def run(self, *jobs):
        threads = [threading.Thread(target=call, args=args)
                   for call, *args in jobs]
        for thread in threads:
            thread.start()
        return threads


@pytest.mark.parametrize("words", (("",), ("discard",),
                                   ("discard", "connections=1")))
def test_readers_side_by_side(tmp, vm_factory, mount_factory, words):
    """In one open file, while the guest overwrites everything."""
    one = full(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, *words)
    readers = Readers(one.file(mnt, "va"), one.expected["va"])
    threads = readers.run((readers.in_a_row, MiB), (readers.at_random, 1),
                          (readers.in_a_row, 10 * KiB + 1, 3 * MiB),
                          (readers.in_a_row, 128 * KiB, 64 * KiB),
                          (readers.at_random, 2))
    one.overwrite_all("va")
    for thread in threads:
        thread.join()
    os.close(readers.fd)
    assert not readers.wrong, readers.wrong
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_what_is_read_is_freed_behind(tmp, vm_factory, mount_factory):
    """As a backup program does that frees what it has stored."""
    one = full(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "discard")
    expected = Readers(one.expected["va"], one.expected["va"])
    with open(one.file(mnt, "va"), "r+b", buffering=0) as file:
        for at in range(0, SIZE, 100000):
            found = os.pread(file.fileno(), 100000, at)
            assert found == expected.bytes[at:at + 100000], at
            files.punch(file.fileno(), at, len(found))
            for gone in (at, at + len(found) - 1):
                assert error_of(os.pread, file.fileno(), 1, gone) \
                    == "ENODATA"
    assert mnt.disk_status("web01", "va")["failed_reads"] == 0
    os.close(expected.fd)
    mnt.umount()
    one.assert_as_before()


def test_punch_ahead_of_the_reader(tmp, vm_factory, mount_factory):
    """What lies in a buffer is not given out after the punch."""
    one = full(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "discard")
    with open(one.file(mnt, "va"), "r+b", buffering=0) as file:
        for at in range(0, 12 * MiB, MiB):
            assert os.pread(file.fileno(), 64 * KiB, at + 64 * KiB)
            assert os.pread(file.fileno(), 64 * KiB, at + 128 * KiB)
            files.punch(file.fileno(), at + 192 * KiB + 1, 1)
            assert error_of(os.pread, file.fileno(), 64 * KiB,
                            at + 192 * KiB) == "ENODATA"
            assert os.pread(file.fileno(), 1, at + 192 * KiB) == read_at(
                one.expected["va"], at + 192 * KiB, 1)
    mnt.umount()
    one.assert_as_before()


def test_break_is_not_hidden(tmp, vm_factory, mount_factory):
    """Neither by what was read ahead, nor by what is in its way."""
    one = full(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "discard", "scratch_limit=1M",
                        "method=filter")
    with open(one.file(mnt, "va"), "rb", buffering=0) as file:
        assert len(os.pread(file.fileno(), MiB, 0)) == MiB
        one.overwrite_all("va")
        wait_for(lambda: mnt.vm_status("web01")["state"] == "broken",
                 what="the break")
        for at in (MiB, MiB + 64 * KiB, 3 * MiB, SIZE - 1):
            assert error_of(os.pread, file.fileno(), 64 * KiB, at) \
                == "ESTALE", at
    mnt.umount()
    one.assert_as_before()


def test_death_of_qemu_while_reading(tmp, vm_factory, mount_factory):
    """EIO at once, for whoever waits for what is being read ahead, too."""
    one = full(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "discard")
    fd = os.open(one.file(mnt, "va"), os.O_RDONLY)
    assert len(os.pread(fd, MiB, 0)) == MiB
    one.vm.pause_process()
    caught = []

    def read():
        caught.append(error_of(os.pread, fd, MiB, 8 * MiB))
        caught.append(error_of(os.pread, fd, MiB, 9 * MiB))

    thread = threading.Thread(target=read)
    thread.start()
    one.vm.kill()
    thread.join()
    assert caught == ["EIO", "EIO"]
    assert error_of(os.pread, fd, MiB, MiB) == "EIO"
    os.close(fd)
    mnt.umount()
