# SPDX-License-Identifier: GPL-2.0-or-later
"""read_once: what a reader was given is freed behind it, and no more."""

import os
import subprocess

import pytest

import files
import images
import scene
from deadline import wait_for
from nights import Nights

MiB = images.MiB
SIZE = images.SIZE
CLUSTER = 64 * images.KiB
# what is kept where all was read: a cluster, and what scratch needs itself
SLACK = 256 * images.KiB


@pytest.fixture(params=("filter", "job"))
def mounted(request, tmp, vm_factory, mount_factory):
    """A guest that has overwritten all of both disks since."""
    two = scene.build(tmp, vm_factory, (("va", "raw", SIZE),
                                        ("vb", "qcow2", scene.ODD_SIZE)),
                      patterns=(("0x5a", 3 * MiB, 3 * MiB),))
    mnt = mount_factory(two.vm.qmp_path, "read_once",
                        f"method={request.param}")
    for disk_id in ("va", "vb"):
        two.overwrite_all(disk_id)
    yield two, mnt
    mnt.umount()
    two.assert_as_before()


def scratch(mnt, disk_id):
    return mnt.disk_status("web01", disk_id)["scratch_bytes"]


def freed(mnt, disk_id):
    return mnt.disk_status("web01", disk_id)["freed_bytes"]


def wait_freed(mnt, disk_id, size):
    """Until all of a disk is, but for its last cluster."""
    wait_for(lambda: freed(mnt, disk_id) >= size - 2 * CLUSTER
             and scratch(mnt, disk_id) <= SLACK, what=f"{disk_id} freed")


@pytest.mark.parametrize("block", (10240, 1 << 20))
def test_what_was_read_is_freed(mounted, block):
    """All bytes are right, and none costs scratch space afterwards."""
    two, mnt = mounted
    for disk_id in ("va", "vb"):
        assert scratch(mnt, disk_id) >= two.size(disk_id) - MiB
        assert images.sha256(two.file(mnt, disk_id),
                             block) == two.sha(disk_id), disk_id
        wait_freed(mnt, disk_id, two.size(disk_id))
        assert files.error_of(files.read_at, two.file(mnt, disk_id), 0,
                              1) == "ENODATA"
    two.vm.reads("va", 0, SIZE, 0xee)


def test_nothing_is_freed_without_it(tmp, vm_factory, mount_factory):
    two = scene.build(tmp, vm_factory)
    mnt = mount_factory(two.vm.qmp_path)
    two.overwrite_all("va")
    two.assert_shown(mnt)
    two.assert_shown(mnt)
    assert freed(mnt, "va") == 0
    assert scratch(mnt, "va") >= SIZE - MiB
    mnt.umount()


def test_a_look_at_the_beginning_costs_nothing(mounted):
    """What file(1) does, and then the backup."""
    two, mnt = mounted
    for _ in range(3):
        with open(two.file(mnt, "va"), "rb", buffering=0) as file:
            for _ in range(2):
                os.pread(file.fileno(), 4096, 512 * images.KiB)
                assert len(file.read(MiB)) == MiB
                file.seek(0)
    assert freed(mnt, "va") == 0
    two.assert_shown(mnt, "va")
    wait_freed(mnt, "va", SIZE)


def read_up_to(file, end):
    while file.tell() < end:
        file.read(min(256 * images.KiB, end - file.tell()))


def test_whoever_goes_back_frees_no_more(mounted):
    """What was not freed before that can be read as often as one likes."""
    two, mnt = mounted
    with open(two.file(mnt, "va"), "rb", buffering=0) as file:
        read_up_to(file, 8 * MiB)
        wait_for(lambda: freed(mnt, "va") >= 6 * MiB, what="freed")
        file.seek(8 * MiB - CLUSTER)
        read_up_to(file, SIZE)
    # not before: of what was read first, some may have been on its way
    before = freed(mnt, "va")
    assert before <= 8 * MiB - CLUSTER
    with open(two.file(mnt, "va"), "rb", buffering=0) as file:
        file.seek(8 * MiB - CLUSTER)
        read_up_to(file, SIZE)
    assert freed(mnt, "va") == before
    assert mnt.stderr().count("has gone back") == 1


def test_two_readers_free_nothing(mounted):
    """The second is there before the first has read far."""
    two, mnt = mounted
    path = two.file(mnt, "va")
    with open(path, "rb", buffering=0) as first, open(path, "rb"):
        read_up_to(first, SIZE)
        assert freed(mnt, "va") == 0
    with open(path, "rb", buffering=0) as first:
        read_up_to(first, 4 * MiB)
        wait_for(lambda: freed(mnt, "va") > 0, what="freed")
        with open(two.file(mnt, "va"), "rb"):
            pass
        before = freed(mnt, "va")
        read_up_to(first, SIZE)
    assert freed(mnt, "va") == before
    assert mnt.stderr().count("opened a second time") == 2


def test_gap_ends_the_run(mounted):
    """What was left out is kept, and all that comes behind it."""
    two, mnt = mounted
    with open(two.file(mnt, "va"), "rb", buffering=0) as file:
        read_up_to(file, 4 * MiB)
        file.seek(4 * MiB + CLUSTER)
        read_up_to(file, SIZE)
        assert freed(mnt, "va") < 4 * MiB
        file.seek(4 * MiB)  # it is still there, and closes the gap
        read_up_to(file, 4 * MiB + CLUSTER)
        wait_freed(mnt, "va", SIZE)


def test_holes_that_are_skipped(tmp, vm_factory, mount_factory):
    """cp asks where they are, and reads only what is between."""
    two = scene.build(tmp, vm_factory, (("va", "qcow2", SIZE),),
                      patterns=(("0x5a", 0, 5 * MiB),
                                ("0x6b", 9 * MiB, 3 * MiB)))
    mnt = mount_factory(two.vm.qmp_path, "read_once")
    two.overwrite_all("va")
    data = files.data_map(two.file(mnt, "va"))
    assert len(data) > 1
    subprocess.run(["cp", "--sparse=always", two.file(mnt, "va"),
                    f"{tmp}/copy"], check=True)
    assert images.sha256(f"{tmp}/copy") == two.sha("va")
    wait_for(lambda: freed(mnt, "va") >= data[-1][1] - MiB - 2 * CLUSTER,
             what="freed")
    mnt.umount()
    two.assert_as_before()


def test_delta(tmp, vm_factory, mount_factory):
    """What is clean in it is a hole; it is freed with what is read."""
    two = scene.build(tmp, vm_factory, (("va", "qcow2", SIZE),))
    nights = Nights(tmp, two, mount_factory, name="full")
    nights.backup()
    nights.mnt.umount()
    for at in range(MiB, 12 * MiB, 2 * MiB):
        two.vm.write("va", at, MiB, 0x77)
    mnt = mount_factory(two.vm.qmp_path, "read_once", "chain=nightly",
                        "view=delta", "method=filter")
    two.overwrite_all("va")
    path = two.file(mnt, "va", "delta")
    changed = files.data_map(path)
    with open(path, "rb", buffering=0) as file:
        for start, end in changed:
            file.seek(start)
            while file.tell() < end:
                data = file.read(min(MiB, end - file.tell()))
                assert data == b"\x77" * len(data), file.tell()
    wait_for(lambda: freed(mnt, "va") >= 10 * MiB
             and scratch(mnt, "va") <= 3 * MiB, what="freed")
    mnt.umount()
