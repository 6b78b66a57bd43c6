# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that are no file names: escaped, and never a way out of the mount."""

import json
import os
import signal

import pytest

import images
import refusal
import scene
from deadline import DEADLINE, wait_for

# What QEMU takes for a qdev id (in JSON), and what the mount makes of it.
ESCAPED = {
    "..": "%2E.", ".fleecefs": "%2Efleecefs", "vm.json": "vm%2Ejson",
    "-rf": "%2Drf", "%41": "%2541", "a b": "a b", "x\ny": "x%0Ay",
    "é": "é", "\x1b[2J": "%1B[2J"}


def device(ident, node):
    """A disk whose id only JSON can say."""
    return ["-device", json.dumps({"driver": "virtio-blk-pci", "id": ident,
                                   "drive": node})]


def node(name, path):
    return ["-blockdev", json.dumps({
        "driver": "raw", "node-name": name,
        "file": {"driver": "file", "filename": path}})]


def entries(mnt):
    """All directories and files of the mount, below its root."""
    return sorted(os.path.relpath(os.path.join(where, name), mnt.path)
                  for where, dirs, files in os.walk(mnt.path)
                  for name in dirs + files)


def start(vm_factory, args):
    try:
        return vm_factory("web01", args=args)
    except AssertionError as gone:
        if "Invalid qdev ID" not in str(gone):
            raise
        pytest.skip("QEMU takes no such ids any more (11.1)")


@pytest.mark.parametrize("name", ESCAPED)
def test_disk_name(tmp, vm_factory, mount_factory, name):
    path = images.make("raw", f"{tmp}/x.img")
    vm = start(vm_factory, node("n", path) + device(name, "n"))
    before = vm.state()
    mnt = mount_factory(vm.qmp_path)
    stem = f"web01/{ESCAPED[name]}"
    assert entries(mnt) == sorted(
        ["web01", "web01/vm.json"]
        + [f"{stem}.{suffix}" for suffix in ("raw", "dirty", "dirty.json")])
    assert images.sha256(mnt.join(f"{stem}.raw")) == images.sha256(path)
    with open(mnt.join("web01", "vm.json"), encoding="utf-8") as file:
        assert [(disk["name"], disk["id"]) for disk in
                json.load(file)["disks"]] == [(ESCAPED[name], name)]
    mnt.umount()
    assert vm.state() == before


@pytest.mark.parametrize("name", ("../x", "a/b", "a\nb/c"))
def test_disk_that_qemu_cannot_find(tmp, vm_factory, mount_factory, name):
    """With a '/' in its id QEMU finds its own device no more: refused in
    QEMU's words, and without that disk the VM is accepted."""
    good = images.make("raw", f"{tmp}/good.img")
    vm = start(vm_factory, [
        *node("n", images.create(f"{tmp}/x.img")), *device(name, "n"),
        *node("m", good), *device("va", "m")])
    before = vm.state()
    mnt = mount_factory(vm.qmp_path, check=False)
    refusal.assert_refused(mnt, "VM web01", "disk ", "qom-get", "not found")
    assert vm.state() == before
    mnt = mount_factory(vm.qmp_path, "disk=va", name="chosen")
    assert images.sha256(mnt.join("web01", "va.raw")) == images.sha256(good)
    mnt.umount()
    assert vm.state() == before


def test_two_of_one_name(tmp, vm_factory, mount_factory):
    """A device without an id whose drive is named as another's id is."""
    paths = [images.make("raw", f"{tmp}/{seed}.img", seed=seed)
             for seed in (1, 2)]
    vm = vm_factory("web01", args=[
        "-drive", f"if=none,id=va,format=raw,file={paths[0]}",
        "-device", "virtio-blk-pci,drive=va",
        *node("n", paths[1]), *device("va", "n")])
    mnt = mount_factory(vm.qmp_path)
    shown = {images.sha256(mnt.join("web01", name))
             for name in ("va.raw", "va~2.raw")}
    assert shown == {images.sha256(path) for path in paths}
    mnt.umount()


def test_names_without_an_id(tmp, vm_factory, mount_factory):
    """The legacy drive id, else the node name."""
    disks = [scene.Disk(name, images.make("raw", f"{tmp}/{name}"),
                        style=style, named=False)
             for name, style in (("va", "drive"), ("vb", "blockdev"))]
    two = scene.of_disks(tmp, vm_factory, disks)
    mnt = mount_factory(two.vm.qmp_path)
    for disk_id, shown in (("va", "drive-va"), ("vb", "vb-fmt")):
        path = mnt.join("web01", f"{shown}.raw")
        assert images.sha256(path) == two.sha(disk_id)
    mnt.umount()
    two.assert_as_before()


VM_NAMES = {"../x": "%2E.%2Fx", "..": "%2E.", "/etc": "%2Fetc",
            "a/../../b": "a%2F..%2F..%2Fb", ".fleecefs": "%2Efleecefs",
            "a b": "a b", "%": "%25"}


@pytest.mark.parametrize("name", VM_NAMES)
@pytest.mark.parametrize("where", ("option", "conf"))
def test_vm_name(tmp, vm_factory, mount_factory, name, where):
    """It is one directory in the mount, made and removed by that name."""
    one = scene.build(tmp, vm_factory)
    if where == "option":
        source, words = one.vm.qmp_path, (f"name={name}",)
    else:
        source, words = f"{tmp}/site.conf", ()
        with open(source, "w", encoding="utf-8") as file:
            file.write(f"[{name}]\nqmp={one.vm.qmp_path}\n")
    mnt = mount_factory(source, *words)
    stem = VM_NAMES[name]
    assert os.listdir(mnt.path) == [stem]
    assert images.sha256(mnt.join(stem, "va.raw")) == one.sha("va")
    assert mnt.vm_status(stem)["state"] == "live"
    os.rmdir(mnt.join(stem))
    assert os.listdir(mnt.path) == []
    one.assert_as_before()
    os.mkdir(mnt.join(stem))
    assert images.sha256(mnt.join(stem, "va.raw")) == one.sha("va")
    mnt.umount()
    one.assert_as_before()


def test_paths_that_are_not_utf8(tmp, vm_factory, mount_factory):
    """A mountpoint and a socket of any bytes; the guardian knows them, too:
    it detaches the mount and undoes the snapshot behind a killed daemon."""
    one = scene.build(tmp, vm_factory)
    folder = f"{tmp}/vms\udcfe"
    os.mkdir(folder)
    os.symlink(one.vm.qmp_path, f"{folder}/web\udcff.qmp")
    mnt = mount_factory(folder, name="mnt\udcfd")
    assert os.listdir(mnt.path) == ["web%FF"]
    assert images.sha256(mnt.join("web%FF", "va.raw")) == one.sha("va")
    assert mnt.vm_status("web%FF")["state"] == "live"
    os.kill(mnt.pid, signal.SIGKILL)
    wait_for(lambda: not mnt.mounted(), DEADLINE, "the mount to go")
    wait_for(lambda: not mnt.processes(), DEADLINE, "the guardian's end")
    one.assert_as_before()
