# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools people copy with give what the disk held, holes and all."""

import os
import subprocess

import pytest

import files
import images
import scene

# A qcow2 overlay reports backing data as "hole, not zero": that is data.
DISKS = (("va", "raw", images.SIZE), ("vb", "qcow2-backing", images.SIZE),
         ("vc", "qcow2", scene.ODD_SIZE))
TOOLS = {
    "cp": "cp {src} {dst}",
    "cp-never": "cp --sparse=never {src} {dst}",
    "cp-always": "cp --sparse=always {src} {dst}",
    "cat": "cat {src} > {dst}",
    "dd-1M": "dd if={src} of={dst} bs=1M status=none",
    "dd-4k": "dd if={src} of={dst} bs=4k status=none",
    "dd-odd": "dd if={src} of={dst} bs=100001 status=none",
    "dd-direct": "dd if={src} of={dst} bs=1M iflag=direct status=none",
    "rsync": "rsync {src} {dst}",
    "rsync-sparse": "rsync -S {src} {dst}",
    "cmp": "cmp {src} {expected} && cp {expected} {dst}",
    "qemu-img": "qemu-img convert -f raw -O raw {src} {dst}",
}


@pytest.fixture
def overwritten(tmp, vm_factory, mount_factory):
    """A mounted scene whose guest has overwritten all since."""
    three = scene.build(tmp, vm_factory, DISKS)
    mnt = mount_factory(three.vm.qmp_path)
    for disk_id in three.expected:
        three.overwrite_all(disk_id)
    yield three, mnt
    mnt.umount()
    three.assert_as_before()


def silent(command, cwd="/"):
    """Run a shell line that must succeed and say nothing."""
    done = subprocess.run(command, shell=True, cwd=cwd, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode, done.stdout) == (0, ""), (command, done.stdout)


@pytest.mark.parametrize("tool", TOOLS)
def test_tool(tmp, need_tool, overwritten, tool):
    need_tool(TOOLS[tool].split()[0])
    three, mnt = overwritten
    for disk_id in three.expected:
        copy = f"{tmp}/copy"
        silent(TOOLS[tool].format(src=three.file(mnt, disk_id), dst=copy,
                                  expected=three.expected[disk_id]))
        assert images.sha256(copy) == three.sha(disk_id), disk_id
        os.unlink(copy)


@pytest.mark.parametrize("sparse", ("", "-S", "-S --hole-detection=raw",
                                    "-S --hole-detection=seek"))
def test_tar(tmp, overwritten, sparse):
    """tar packs the whole mount, sees no change and loses no data."""
    three, mnt = overwritten
    silent(f"tar {sparse} -cf {tmp}/a.tar .", cwd=mnt.path)
    os.mkdir(f"{tmp}/out")
    silent(f"tar -xf {tmp}/a.tar", cwd=f"{tmp}/out")
    assert os.listdir(f"{tmp}/out") == [three.vm.name]
    for disk_id in three.expected:
        extracted = f"{tmp}/out/{three.vm.name}/{disk_id}.raw"
        assert images.sha256(extracted) == three.sha(disk_id), disk_id


def test_recursive_copy(tmp, need_tool, overwritten):
    """cp -a and rsync of the whole mount; the second rsync copies nothing."""
    need_tool("rsync")
    three, mnt = overwritten
    silent(f"cp -r --preserve=mode,timestamps {mnt.path} {tmp}/out")
    assert sorted(os.listdir(f"{tmp}/out")) == [three.vm.name]
    done = images.run("rsync", "-rt", "--stats", f"{mnt.path}/", f"{tmp}/out")
    assert "Number of regular files transferred: 0" in done, done
    for disk_id in three.expected:
        copied = f"{tmp}/out/{three.vm.name}/{disk_id}.raw"
        assert images.sha256(copied) == three.sha(disk_id), disk_id


def test_holes_are_zeroes_and_some_exist(overwritten):
    """Each hole reads as zeroes, and what is sparse has holes at all.

    QEMU tells nothing of the layers below an overlay's, so vb may have none.
    """
    three, mnt = overwritten
    for disk_id, expected in three.expected.items():
        path = three.file(mnt, disk_id)
        ranges = files.data_map(path)
        data = sum(end - start for start, end in ranges)
        assert data > 0
        assert disk_id == "vb" or data < three.size(disk_id) // 2, disk_id
        with open(expected, "rb") as file:
            content = file.read()
        at = 0
        for start, end in ranges + [(len(content), len(content))]:
            assert not any(content[at:start]), (disk_id, at, start)
            at = end


def test_backing_data_is_data(overwritten):
    """What only the backing file holds is DATA, not a hole."""
    three, mnt = overwritten
    path = three.file(mnt, "vb")
    start, length = images.part(images.SIZE, images.FIRST)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.lseek(fd, start, os.SEEK_DATA) == start
        assert os.lseek(fd, start, os.SEEK_HOLE) >= start + length
    finally:
        os.close(fd)
