# SPDX-License-Identifier: GPL-2.0-or-later
"""A fleece that another program made in a QEMU, mounted over NBD."""

import os

import pytest

import images
import scene
from files import data_map, error_of, read_at
from nbdserver import SAFE, uri_of

KiB, MiB = images.KiB, images.MiB
SIZE = 4 * MiB
CLUSTER = 64 * KiB
FULL = ((0x33, 0, SIZE),)


def fleece(tmp, vm, bitmap=None):
    """As a backup program does it; returns the socket."""
    path, scratch = f"{tmp}/other.nbd", images.create(f"{tmp}/s", size=SIZE)
    limit = {"bitmap": {"node": "va-fmt", "name": bitmap}} if bitmap else {}
    with vm.qmp() as qmp:
        qmp.execute("blockdev-add", {
            "driver": "raw", "node-name": "s0", "discard": "unmap",
            "file": {"driver": "file", "filename": scratch,
                     "discard": "unmap"}})
        qmp.execute("blockdev-add", {
            "driver": "copy-before-write", "node-name": "c0",
            "file": "va-fmt", "target": "s0",
            "on-cbw-error": "break-snapshot", **limit})
        if bitmap:
            qmp.execute("block-dirty-bitmap-add", {
                "node": "s0", "name": "copy", "disabled": True})
            qmp.execute("block-dirty-bitmap-merge", {
                "node": "s0", "target": "copy", "bitmaps": [
                    {"node": "va-fmt", "name": bitmap}]})
        qmp.execute("qom-set", {"path": vm.qdev("va"), "property": "drive",
                                "value": "c0"})
        qmp.execute("blockdev-add", {
            "driver": "snapshot-access", "node-name": "a0", "file": "c0",
            "discard": "unmap"})
        qmp.execute("nbd-server-start", {"addr": {
            "type": "unix", "data": {"path": path}}})
        qmp.execute("block-export-add", {
            "type": "nbd", "id": "e0", "node-name": "a0", "name": "va",
            "writable": True, **({"bitmaps": [
                {"node": "s0", "name": "copy"}]} if bitmap else {})})
    return path


def strike(vm):
    """New data and new zeros, each beside a cluster that is not touched."""
    for at in range(0, SIZE, 4 * CLUSTER):
        vm.qemu_io("va", f"write -P 0xee {at} {CLUSTER}")
        vm.qemu_io("va", f"write -z {at + 2 * CLUSTER} {CLUSTER}")


@pytest.mark.parametrize("words", ((), ("discard",)))
def test_shown(tmp, vm_factory, mount_factory, words):
    """The bytes at the instant, whichever QEMU it is; and its end."""
    one = scene.build(tmp, vm_factory, (("va", "raw", SIZE),), patterns=FULL)
    path = fleece(tmp, one.vm)
    strike(one.vm)
    mnt = mount_factory(uri_of(path), "name=web01", *words)
    one.assert_shown(mnt)
    assert data_map(one.file(mnt, "va")) == [(0, SIZE)]
    one.vm.kill()
    if words:   # what the page cache has is right, and still shown
        assert error_of(read_at, one.file(mnt, "va"), 0, 1) == "EIO"
    mnt.umount()


def test_that_it_matters(tmp, vm_factory, mount_factory):
    """The control: a QEMU before 8.0, taken to be safe, shows it wrong."""
    one = scene.build(tmp, vm_factory, (("va", "raw", SIZE),), patterns=FULL)
    path = fleece(tmp, one.vm)
    strike(one.vm)
    mnt = mount_factory(uri_of(path), "name=web01", SAFE)
    right = images.sha256(one.file(mnt, "va")) == one.sha("va")
    assert right == (one.vm.version >= (8, 0))
    mnt.umount()


@pytest.mark.parametrize("words", ((), (SAFE,), ("view=all",)))
def test_limited_to_its_bitmap(tmp, vm_factory, mount_factory, words):
    """Reads outside of it fail: there is .delta alone, and it is right."""
    one = scene.build(tmp, vm_factory, (("va", "raw", SIZE),), patterns=FULL)
    one.vm.execute("block-dirty-bitmap-add", {"node": "va-fmt", "name": "b"})
    one.vm.write("va", MiB, CLUSTER, 0x44)
    path = fleece(tmp, one.vm, "b")
    one.vm.write("va", MiB, CLUSTER, 0xee)
    mnt = mount_factory(uri_of(path), "name=web01", *words)
    assert sorted(os.listdir(mnt.join("web01"))) == [
        "va.delta", "va.dirty", "va.dirty.json", "vm.json"]
    delta = one.file(mnt, "va", "delta")
    assert data_map(delta) == [(MiB, MiB + CLUSTER)]
    with open(delta, "rb") as file:
        assert file.read() == (bytes(MiB) + b"\x44" * CLUSTER
                               + bytes(SIZE - MiB - CLUSTER))
    status = mnt.vm_status("web01")
    assert status["disks"][0]["limited"] and "alone" in status["warnings"][0]
    mnt.umount()
