# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD servers that others run: what they export is what the mount shows."""

import json
import os

import pytest

import fleecectl
import images
import refusal
import scene
from files import data_map, error_of, parse_mapfile, punch, read_at
from nbdserver import (SAFE, add_bitmap, nbdkit, script, storage_daemon,
                       uri_of)
from test_sources import write_conf

KiB, MiB = images.KiB, images.MiB
SIZE = 4 * MiB
CHOICE = ((0x11, 0, 64 * KiB), (0x22, MiB, 128 * KiB))


@pytest.fixture
def image(tmp):
    """A qcow2 image with data, holes, and a bitmap of what came last."""
    path = images.make("qcow2", f"{tmp}/disk.qcow2", SIZE)
    add_bitmap(path, "b0", *CHOICE)
    return path


def content(tmp, path):
    return images.sha256(images.to_raw(path, "qcow2", f"{tmp}/content"))


def vm_json(mnt, vm="nbd"):
    with open(mnt.join(vm, "vm.json"), encoding="utf-8") as file:
        return json.load(file)


def mapfile(mnt, disk, vm="nbd"):
    with open(mnt.join(vm, f"{disk}.dirty"), encoding="utf-8") as file:
        return parse_mapfile(file.read())


def dirty(mnt, disk="disk", vm="nbd"):
    return [(start, length) for start, length, status
            in mapfile(mnt, disk, vm) if status == "+"]


@pytest.mark.parametrize("words", ((), (SAFE,), (SAFE, "connections=4")))
def test_bytes_holes_and_dirty(tmp, mount_factory, image, words):
    """Bytes and bitmap always; holes where the server is to be trusted."""
    with storage_daemon(tmp, ("disk", image, "qcow2", ",bitmaps.0=b0")) as one:
        mnt = mount_factory(one.uri(), *words)
        raw = mnt.join("nbd", "disk.raw")
        assert images.sha256(raw) == content(tmp, image)
        assert dirty(mnt) == [(0, 64 * KiB), (MiB, 128 * KiB)]
        data = data_map(raw)
        assert (data == [(0, SIZE)]) == (SAFE not in words)
        assert os.stat(raw).st_blocks == sum(b - a for a, b in data) // 512
        told = vm_json(mnt)
        assert (told["method"], told["qemu"]) == ("nbd", None)
        disk, = told["disks"]
        assert (disk["mode"], disk["reason"]) == ("incremental", None)
        assert (disk["bitmap"], disk["limited"]) == ("b0", False)
        assert os.getxattr(raw, "user.fleecefs.mode") == b"incremental"
        mnt.umount()


def test_views(tmp, mount_factory, image):
    with storage_daemon(tmp, ("disk", image, "qcow2", ",bitmaps.0=b0")) as one:
        mnt = mount_factory(one.uri(), SAFE, "view=all")
        delta = mnt.join("nbd", "disk.delta")
        assert data_map(delta) == [(0, 64 * KiB), (MiB, MiB + 128 * KiB)]
        assert read_at(delta, MiB, 128 * KiB) == b"\x22" * 128 * KiB
        assert images.sha256(mnt.join("nbd", "disk.raw")) == content(tmp,
                                                                     image)
        mnt.umount()


NAMES = {"vda": "vda", "weird/name one": "weird%2Fname one", "": "disk",
         ".fleecefs": "%2Efleecefs"}


def test_every_export(tmp, mount_factory):
    """Those that the server lists, by names that are file names."""
    listed = "\\n".join(NAMES)
    with script(tmp, f"list_exports) printf 'NAMES\\n{listed}\\n';;\n"
                "get_size) echo 64K;; open) echo \"$3\";;\n"
                "pread) printf '%-65536s' \"export $2\" | "
                "tail -c +$(($4 + 1)) | head -c $3;;") as one:
        mnt = mount_factory(one.uri())
        for name, file in NAMES.items():
            shown = read_at(mnt.join("nbd", f"{file}.raw"), 0, 65536)
            assert shown.decode().rstrip() == f"export {name}".rstrip()
        assert len(os.listdir(mnt.join("nbd"))) == 3 * len(NAMES) + 1
        mnt.umount()
        mnt = mount_factory(one.uri("weird/name one"), "name=web 01")
        assert sorted(os.listdir(mnt.path)) == ["web 01"]
        assert "weird%2Fname one.raw" in os.listdir(mnt.join("web 01"))
        mnt.umount()
        mnt = mount_factory(one.uri(), "disk=v*:disk")
        assert {disk["id"] for disk in vm_json(mnt)["disks"]} == {"vda",
                                                                  "disk"}
        mnt.umount()
        mnt = mount_factory(one.uri(), "disk=none", check=False, name="no")
        refusal.assert_refused(mnt, "disk=none", "'weird/name one'")


def test_no_such_export(tmp, mount_factory, image):
    with storage_daemon(tmp, ("va", image, "qcow2", "")) as one:
        mnt = mount_factory(one.uri("vb"), check=False)
        refusal.assert_refused(mnt, "vb", "the server has 'va'", "VM nbd: ")


def test_bitmaps(tmp, mount_factory, image):
    """Of several one is chosen; where none is there, the disk is full."""
    add_bitmap(image, "b1", (0x33, 2 * MiB, 64 * KiB))
    plain = images.make("qcow2", f"{tmp}/plain.qcow2", SIZE, seed=9)
    with storage_daemon(tmp,
                        ("va", image, "qcow2", ",bitmaps.0=b0,bitmaps.1=b1"),
                        ("vb", plain, "qcow2", "")) as one:
        mnt = mount_factory(one.uri(), check=False)
        refusal.assert_refused(mnt, "bitmap=", "'b0'", "'b1'", "disk va")
        mnt = mount_factory(one.uri(), "bitmap=x*", check=False, name="no")
        refusal.assert_refused(mnt, "'x*'", "'b0'", "'b1'")
        for choice, shown in (("b0", [(0, 64 * KiB), (MiB, 128 * KiB)]),
                              ("none:?1", [(2 * MiB, 64 * KiB)])):
            mnt = mount_factory(one.uri(), f"bitmap={choice}")
            assert dirty(mnt, "va") == shown
            assert dirty(mnt, "vb") == [(0, SIZE)]
            modes = [(disk["mode"], disk["reason"])
                     for disk in vm_json(mnt)["disks"]]
            assert modes == [("incremental", None), ("full", "no-bitmap")]
            mnt.umount()


PLAIN = (
    (("pattern", "1000001"), ()), (("pattern", "1000001"), ("--no-sr",)),
    (("pattern", "1M"), ("--filter=noextents",)),
    (("pattern", "1M", "blocksize-minimum=4096", "blocksize-maximum=64K",
      "blocksize-error-policy=error"), ("--filter=blocksize-policy",)),
    (("pattern", "1M", "multi-conn-mode=disable"), ("--filter=multi-conn",)),
    (("pattern", "0"), ()), (("pattern", "1"), ()))


@pytest.mark.parametrize("safe", (False, True))
@pytest.mark.parametrize("words, options", PLAIN)
def test_servers(tmp, mount_factory, words, options, safe):
    """Whatever it lacks, and however it wants to be asked."""
    with nbdkit(tmp, *words, options=options) as one:
        mnt = mount_factory(one.uri(), *([SAFE] if safe else []))
        raw = mnt.join("nbd", "disk.raw")
        size = {"1M": MiB}.get(words[1]) or int(words[1])
        whole = b"".join(at.to_bytes(8, "big")
                         for at in range(0, size, 8))[:size]
        with open(raw, "rb") as file:
            assert file.read() == whole
        assert read_at(raw, 4095, 3) == whole[4095:4098]
        assert os.stat(raw).st_size == size
        assert dirty(mnt) == ([(0, size)] if size else [])
        if "--no-sr" in options:
            assert data_map(raw) == [(0, size)]
        mnt.umount()


def test_discard(tmp, mount_factory):
    """Punches add up to whole 2 MiB, and are the server's to carry out."""
    path = images.create(f"{tmp}/disk.img", size=5 * MiB)
    images.write_patterns(path, "raw", [(0x55, 0, 5 * MiB)])
    with nbdkit(tmp, "file", path) as one:
        mnt = mount_factory(one.uri(), "discard")
        raw = mnt.join("nbd", "disk.raw")
        fd = os.open(raw, os.O_RDWR)
        for at in (MiB, 0):
            before = os.stat(path).st_blocks
            punch(fd, at, MiB)
            assert error_of(os.pread, fd, 1, at) == "ENODATA"
            assert (os.stat(path).st_blocks < before) == (at == 0)
        assert os.pread(fd, 4, 2 * MiB) == b"\x55" * 4
        punch(fd, 4 * MiB, MiB)     # the last cluster ends with the disk
        assert data_map(path) == [(2 * MiB, 4 * MiB)]
        os.close(fd)
        assert mnt.disk_status("nbd", "disk")["freed_bytes"] == 3 * MiB
        mnt.umount()


@pytest.mark.parametrize("word", ("discard", "read_once"))
def test_frees_without_trims(tmp, mount_factory, word):
    with nbdkit(tmp, "memory", "1M", options=("-r",)) as one:
        mnt = mount_factory(one.uri(), word, check=False)
        refusal.assert_refused(mnt, f"'{word}'", "trims", "disk disk")
        mount_factory(one.uri()).umount()


def test_largest_size(tmp, mount_factory):
    with nbdkit(tmp, "null", str(2 ** 60)) as one:
        mnt = mount_factory(one.uri())
        assert os.stat(mnt.join("nbd", "disk.raw")).st_size == 2 ** 60
        mnt.umount()
    with nbdkit(tmp, "null", str(2 ** 60 + 512)) as one:
        mnt = mount_factory(one.uri(), check=False)
        refusal.assert_refused(mnt, "disk disk: a size of", str(2 ** 60 + 512))


def test_mkdir_and_rmdir(tmp, mount_factory):
    """mkdir connects, rmdir disconnects, and each has its own instant."""
    with nbdkit(tmp, "pattern", "1M") as one:
        mnt = mount_factory(one.uri(), "snapshot=mkdir")
        assert os.listdir(mnt.path) == []
        assert mnt.vm_status("nbd")["state"] == "available"
        instants = []
        for _ in range(2):
            os.mkdir(mnt.join("nbd"))
            instants.append(vm_json(mnt)["instant"])
            assert read_at(mnt.join("nbd", "disk.raw"), 8, 8) == (
                8).to_bytes(8, "big")
            os.rmdir(mnt.join("nbd"))
        assert instants[0] < instants[1]
        one.end()
        assert error_of(os.mkdir, mnt.join("nbd")) == "ENOENT"
        assert mnt.vm_status("nbd")["state"] == "failed"
        assert "connect" in mnt.vm_status("nbd")["error"]
        mnt.umount()


def test_conf_with_both(tmp, vm_factory, mount_factory, image):
    """A QEMU that makes its snapshot, and a server that shows one."""
    one = scene.build(tmp, vm_factory)
    with storage_daemon(tmp, ("va", image, "qcow2", ",bitmaps.0=b0")) as other:
        write_conf(f"{tmp}/site.conf", {
            "web01": {"qmp": one.vm.qmp_path, "chain": "nightly"},
            "files": {"nbd": other.uri(), "server": "safe"}})
        mnt = mount_factory(f"{tmp}/site.conf", f"scratch={tmp}", "method=filter")
        assert sorted(os.listdir(mnt.path)) == ["files", "web01"]
        one.vm.write("va", 0, MiB, 0xee)
        one.assert_shown(mnt)
        assert images.sha256(mnt.join("files", "va.raw")) == content(tmp,
                                                                     image)
        assert mnt.vm_status("web01")["method"] == "filter"
        assert mnt.vm_status("files")["chain"] is None
        assert error_of(mnt.control, "commit files") == "EINVAL"
        mnt.control("commit web01")
        fleecectl.good(tmp, "release", mnt.path, "files")
        assert os.listdir(mnt.path) == ["web01"]
        fleecectl.good(tmp, "snapshot", mnt.path, "files")
        other.end()
        one.assert_shown(mnt)
        mnt.umount()
        for command in ("recover", "checkpoints"):
            fleecectl.good(tmp, command, f"{tmp}/site.conf")


def test_fleecectl(tmp, mount_factory):
    with nbdkit(tmp, "pattern", "1M") as one:
        mnt = mount_factory(one.uri(), "name=web01")
        said = fleecectl.good(tmp, "status", mnt.path)
        assert "nbd" in said and "no-bitmap" in said and "live" in said
        assert os.statvfs(mnt.path).f_blocks == 0   # no scratch of ours
        fleecectl.good(tmp, "recover", one.uri())
        mnt.umount()
    fleecectl.good(tmp, "recover", uri_of(f"{tmp}/none"))
