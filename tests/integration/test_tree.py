# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree: names, attributes, maps and xattrs, as the contract has them."""

import json
import os
import stat
import subprocess
import time

import pytest

import files
import images
import scene

DISKS = (("va", "raw", images.SIZE), ("vb", "qcow2-backing", images.SIZE),
         ("vc", "qcow2", scene.ODD_SIZE))
SUFFIXES = ("raw", "dirty", "dirty.json")
TREE = sorted([f"{disk}.{suffix}" for disk, _, _ in DISKS
               for suffix in SUFFIXES] + ["vm.json"])


@pytest.fixture
def mounted(tmp, vm_factory, mount_factory):
    three = scene.build(tmp, vm_factory, DISKS)
    mnt = mount_factory(three.vm.qmp_path)
    yield three, mnt
    mnt.umount()
    three.assert_as_before()


def instant_ms(text):
    """An instant in UTC as milliseconds, with or without separators."""
    digits = "".join(char for char in text if char.isdigit())
    assert len(digits) == 17, text
    seconds = time.strptime(digits[:14], "%Y%m%d%H%M%S")
    return int(time.mktime(seconds) - time.timezone) * 1000 + int(digits[14:])


def xattr(path, name):
    return os.getxattr(path, f"user.fleecefs.{name}").decode()


def test_names(mounted):
    three, mnt = mounted
    assert os.listdir(mnt.path) == [three.vm.name]
    assert sorted(os.listdir(mnt.join(three.vm.name))) == TREE
    assert os.path.isdir(mnt.join(".fleecefs"))
    assert sorted(os.listdir(mnt.join(".fleecefs"))) == [
        "control", "metrics", "status"]
    assert sum(len(names) for _, _, names in os.walk(mnt.path)) == len(TREE)


@pytest.mark.parametrize("option, mode", (("", 0o400), ("discard", 0o600)))
def test_modes(tmp, vm_factory, mount_factory, option, mode):
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, option)
    for directory in (mnt.path, mnt.join(one.vm.name)):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    about = os.stat(one.file(mnt, "va"))
    assert stat.S_ISREG(about.st_mode)
    assert stat.S_IMODE(about.st_mode) == mode
    assert (about.st_nlink, about.st_uid, about.st_gid) == (
        1, os.getuid(), os.getgid())
    mnt.umount()


def test_owner_options(tmp, vm_factory, mount_factory):
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "allow_other", "uid=1234",
                        "gid=4321")
    for path in (mnt.join(one.vm.name), one.file(mnt, "va")):
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (1234, 4321)
    mnt.umount()


def test_sizes_and_blocks(mounted):
    """st_blocks is what the data map holds: never 0 where data is."""
    three, mnt = mounted
    for disk_id in three.expected:
        path = three.file(mnt, disk_id)
        about = os.stat(path)
        assert about.st_size == three.size(disk_id)
        data = sum(end - start for start, end in files.data_map(path))
        assert about.st_blocks * 512 == data > 0, disk_id


def test_empty_disk_has_no_blocks(tmp, vm_factory, mount_factory):
    path = images.create(f"{tmp}/empty.img", "qcow2")
    vm = vm_factory("web01", [scene.Disk("va", path, "qcow2")])
    mnt = mount_factory(vm.qmp_path)
    assert os.stat(mnt.join("web01", "va.raw")).st_blocks == 0
    assert files.data_map(mnt.join("web01", "va.raw")) == []
    mnt.umount()


def test_inodes_are_stable_and_unique(tmp, vm_factory, mount_factory):
    three = scene.build(tmp, vm_factory, DISKS)
    seen = []
    for name in ("first", "second"):
        mnt = mount_factory(three.vm.qmp_path, name=name)
        seen.append({path: os.stat(mnt.join("web01", path)).st_ino
                     for path in TREE})
        mnt.umount()
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == len(TREE)


def test_times_are_the_instant(tmp, vm_factory, mount_factory):
    three = scene.build(tmp, vm_factory, DISKS)
    earliest = time.time_ns() // 10**6
    mnt = mount_factory(three.vm.qmp_path)
    latest = time.time_ns() // 10**6
    instants = set()
    for disk_id in three.expected:
        path = three.file(mnt, disk_id)
        about = os.stat(path)
        assert about.st_mtime_ns == about.st_ctime_ns == about.st_atime_ns
        instants.add(instant_ms(xattr(path, "instant")))
        instants.add(about.st_mtime_ns // 10**6)
    assert len(instants) == 1
    assert earliest <= instants.pop() <= latest
    mnt.umount()


def test_vm_json(mounted):
    three, mnt = mounted
    with open(mnt.join("web01", "vm.json"), encoding="utf-8") as file:
        about = json.load(file)
    shown = instant_ms(xattr(three.file(mnt, "va"), "instant"))
    assert instant_ms(about["instant"]) == shown
    assert {disk["name"]: disk["size"] for disk in about["disks"]} == {
        disk_id: three.size(disk_id) for disk_id in three.expected}


def test_xattrs_without_a_chain(mounted):
    three, mnt = mounted
    path = three.file(mnt, "va")
    assert xattr(path, "mode") == "full"
    assert int(xattr(path, "dirty_bytes")) == three.size("va")
    names = os.listxattr(path)
    assert {"user.fleecefs.instant", "user.fleecefs.mode"} <= set(names)
    for name in names:
        os.getxattr(path, name)
    error = files.error_of(os.getxattr, path, "user.fleecefs.unknown")
    assert error == "ENODATA"


def test_dirty_is_one_block(mounted, need_tool):
    need_tool("ddrescuelog")
    three, mnt = mounted
    for disk_id in three.expected:
        path = three.file(mnt, disk_id, "dirty")
        with open(path, encoding="ascii") as file:
            text = file.read()
        assert len(text) == os.stat(path).st_size
        size = three.size(disk_id)
        assert files.parse_mapfile(text) == [(0, size, "+")]
        assert "rescued" in images.run("ddrescuelog", "-t", path)
        done = subprocess.run(["ddrescuelog", "-D", path], check=False)
        assert done.returncode == 0


def test_dirty_json_covers_the_disk(mounted):
    """No gap, no overlap, all dirty, and zero where SEEK_HOLE says so."""
    three, mnt = mounted
    for disk_id in three.expected:
        with open(three.file(mnt, disk_id, "dirty.json"),
                  encoding="ascii") as file:
            text = file.read()
        extents = json.loads(text)
        assert text.count("\n") >= len(extents)
        at, data = 0, []
        for extent in extents:
            assert extent["offset"] == at and extent["length"] > 0
            assert extent["dirty"] is True
            at += extent["length"]
            if not extent["zero"]:
                data.append((extent["offset"], at))
        assert at == three.size(disk_id)
        assert merged(data) == files.data_map(three.file(mnt, disk_id))


def merged(ranges):
    """Neighbouring ranges as one."""
    out = []
    for start, end in ranges:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def test_reads_at_the_end(mounted):
    three, mnt = mounted
    for disk_id, expected in three.expected.items():
        path, size = three.file(mnt, disk_id), three.size(disk_id)
        tail = files.read_at(expected, size - 777, 777)
        assert files.read_at(path, size - 777, 65536) == tail
        assert files.read_at(path, size, 10) == b""
        assert files.read_at(path, size + 4096, 10) == b""
