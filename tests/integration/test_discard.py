# SPDX-License-Identifier: GPL-2.0-or-later
"""Punching frees scratch space, byte-exactly, and never touches the guest."""

import errno
import os

import pytest

import files
import images
import scene
from deadline import wait_for

SLACK = images.MiB
TWO = (("va", "raw", images.SIZE), ("vb", "qcow2", scene.ODD_SIZE))


@pytest.fixture(params=("filter", "job"))
def mounted(request, tmp, vm_factory, mount_factory):
    two = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(two.vm.qmp_path, "discard", f"method={request.param}")
    yield two, mnt
    mnt.umount()
    two.assert_as_before()


def scratch(mnt, disk_id):
    """The scratch space that one disk uses now, in bytes."""
    return mnt.disk_status("web01", disk_id)["scratch_bytes"]


def wait_scratch(mnt, disk_id, judge, what):
    wait_for(lambda: judge(scratch(mnt, disk_id)), what=f"{disk_id}: {what}")


def punch_whole(two, mnt, disk_id, step):
    """Punch the whole disk in steps."""
    size = two.size(disk_id)
    with open(two.file(mnt, disk_id), "r+b", buffering=0) as file:
        for at in range(0, size, step):
            files.punch(file.fileno(), at, min(step, size - at))


def read_error(path, offset, length=1):
    return files.error_of(files.read_at, path, offset, length)


@pytest.mark.parametrize("step", (1 << 30, 10 * images.KiB, 64 * images.KiB))
@pytest.mark.parametrize("disk_id", ("va", "vb"))
def test_punch_frees_the_scratch(mounted, disk_id, step):
    """All that was copied is freed, in whatever steps it is punched."""
    two, mnt = mounted
    size = two.size(disk_id)
    two.overwrite_all(disk_id)
    wait_scratch(mnt, disk_id, lambda used: used >= size - SLACK, "filled")
    two.assert_shown(mnt)
    before = files.data_map(two.file(mnt, disk_id))
    blocks = os.stat(two.file(mnt, disk_id)).st_blocks
    punch_whole(two, mnt, disk_id, step)
    wait_scratch(mnt, disk_id, lambda used: used <= SLACK, "freed")
    for at in (0, 1, 65535, 65536, size // 2, size - 1):
        assert read_error(two.file(mnt, disk_id), at) == "ENODATA", at
    assert files.data_map(two.file(mnt, disk_id)) == before
    assert os.stat(two.file(mnt, disk_id)).st_blocks == blocks
    two.vm.reads(disk_id, 0, size, 0xee)


@pytest.mark.parametrize("step", (1 << 30, 10 * images.KiB))
def test_guest_writes_cost_nothing_after_a_punch(mounted, step):
    """vb, which is not punched, is the negative control."""
    two, mnt = mounted
    two.assert_shown(mnt)
    punch_whole(two, mnt, "va", step)
    two.overwrite_all("va")
    two.overwrite_all("vb")
    wait_scratch(mnt, "vb", lambda used: used >= two.size("vb") - SLACK,
                 "filled")
    assert scratch(mnt, "va") <= SLACK
    two.assert_shown(mnt, "vb")
    two.vm.reads("va", 0, two.size("va"), 0xee)


def test_byte_exact_edges(mounted):
    """One byte before and after the punch is still what it was."""
    two, mnt = mounted
    path, expected = two.file(mnt, "va"), two.expected["va"]
    start, _ = images.part(images.SIZE, images.FIRST)
    start, end = start + 12345, start + 12345 + 300001
    with open(path, "r+b", buffering=0) as file:
        files.punch(file.fileno(), start, end - start)
    for at in (start, start + 1, (start + end) // 2, end - 1):
        assert read_error(path, at) == "ENODATA", at
    for at in (start - 1, end):
        assert files.read_at(path, at, 1) == files.read_at(expected, at, 1)
    before = files.read_at(path, start - 5000, 5000)
    assert before == files.read_at(expected, start - 5000, 5000)
    after = files.read_at(path, end, 5000)
    assert after == files.read_at(expected, end, 5000)
    assert read_error(path, start - 1, 2) == "ENODATA"
    assert read_error(path, end - 1, 2) == "ENODATA"


def test_edges_hold_after_the_guest_wrote(mounted):
    """What shares a cluster with a punch's edge is still copied."""
    two, mnt = mounted
    path, expected = two.file(mnt, "va"), two.expected["va"]
    start, _ = images.part(images.SIZE, images.FIRST)
    start, end = start + 12345, start + 12345 + 300001
    with open(path, "r+b", buffering=0) as file:
        files.punch(file.fileno(), start, end - start)
    two.overwrite_all("va")
    head = files.read_at(path, start - 50000, 50000)
    assert head == files.read_at(expected, start - 50000, 50000)
    tail = files.read_at(path, end, 50000)
    assert tail == files.read_at(expected, end, 50000)
    assert read_error(path, start) == read_error(path, end - 1) == "ENODATA"


def test_punch_in_every_open_file(mounted):
    """The range is gone for a file that was open before, too."""
    two, mnt = mounted
    path = two.file(mnt, "va")
    with open(path, "rb", buffering=0) as reader:
        assert os.pread(reader.fileno(), 65536, 0) is not None
        with open(path, "r+b", buffering=0) as puncher:
            files.punch(puncher.fileno(), 0, 65536)
        with pytest.raises(OSError) as caught:
            os.pread(reader.fileno(), 65536, 0)
        assert caught.value.errno == errno.ENODATA


def test_punches_at_and_behind_the_end(mounted):
    """A punch over the end frees up to it; one behind it does nothing."""
    two, mnt = mounted
    path, size = two.file(mnt, "vb"), two.size("vb")
    with open(path, "r+b", buffering=0) as file:
        files.punch(file.fileno(), size, 65536)
        assert os.pread(file.fileno(), 1, size - 1) != b""
        files.punch(file.fileno(), size - 512, 1 << 30)
    assert os.stat(path).st_size == size
    assert read_error(path, size - 1) == "ENODATA"
    assert read_error(path, size - 512) == "ENODATA"
    assert len(files.read_at(path, size - 513, 1)) == 1
