# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to attach a disk, and everything beside disks in a VM."""

import os

import pytest

import files
import images
import scene
from deadline import wait_for
from disk import ATTACHMENTS, Disk

# (attachment, style, throttle): the blockdev style is what other tests have
LAYOUTS = [*((attachment, "drive", False) for attachment in ATTACHMENTS),
           ("usb-storage", "blockdev", False),
           *((attachment, "blockdev", True) for attachment in ATTACHMENTS)]


def make(tmp, name, kind="raw", **options):
    """A disk with content; what it holds follows from its name."""
    path = images.make(kind, f"{tmp}/{name}.img", seed=sum(name.encode()))
    return Disk(name, path, images.fmt_of(kind), **options)


def root_of(vm, disk_id):
    """The node that the disk's device has now."""
    return vm.block_entry(disk_id)["inserted"]["node-name"]


@pytest.mark.parametrize("attachment, style, throttle", LAYOUTS)
@pytest.mark.parametrize("method", ("filter", "job"))
def test_layout(tmp, vm_factory, mount_factory, method, attachment, style,
                throttle):
    """With discard nothing comes from the page cache."""
    disk = make(tmp, "va", "qcow2", attachment=attachment, style=style,
                throttle=throttle)
    one = scene.of_disks(tmp, vm_factory, [disk])
    mnt = mount_factory(one.vm.qmp_path, "discard", f"method={method}")
    one.overwrite_all("va")
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_one_of_each(tmp, vm_factory, mount_factory, method):
    """All attachments and both styles in one VM."""
    disks = [make(tmp, f"v{attachment}{style}", attachment=attachment,
                  style=style)
             for attachment in ATTACHMENTS for style in ("drive", "blockdev")]
    many = scene.of_disks(tmp, vm_factory, disks)
    mnt = mount_factory(many.vm.qmp_path, "discard", f"method={method}")
    for disk in disks:
        many.vm.write(disk.id, 0, 16 * images.MiB, 0xee)
    many.assert_shown(mnt)
    mnt.umount()
    many.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
@pytest.mark.parametrize("attachment", ("virtio-blk", "virtio-scsi"))
def test_read_only(tmp, vm_factory, mount_factory, attachment, method):
    """Served as it is, without a filter; a punched range is gone here too."""
    disks = [make(tmp, "va"),
             make(tmp, "vr", attachment=attachment, read_only=True)]
    two = scene.of_disks(tmp, vm_factory, disks)
    mnt = mount_factory(two.vm.qmp_path, "discard", f"method={method}")
    assert root_of(two.vm, "vr") == "vr-fmt"
    assert root_of(two.vm, "va") != "va-fmt"
    two.assert_shown(mnt)
    path = two.file(mnt, "vr")
    with open(path, "r+b", buffering=0) as file:
        files.punch(file.fileno(), 0, 8 * images.MiB)
    for at in (0, 8 * images.MiB - 1):
        assert files.error_of(files.read_at, path, at, 1) == "ENODATA"
    rest = files.read_at(path, 8 * images.MiB, images.MiB)
    assert rest == files.read_at(two.expected["vr"], 8 * images.MiB,
                                 images.MiB)
    assert images.sha256(disks[1].image) == two.sha("vr")
    mnt.umount()
    two.assert_as_before()


def test_only_a_read_only_disk(tmp, vm_factory, mount_factory):
    one = scene.of_disks(tmp, vm_factory, [make(tmp, "vr", read_only=True)])
    mnt = mount_factory(one.vm.qmp_path)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


@pytest.mark.parametrize("medium", (False, True), ids=("empty", "medium"))
@pytest.mark.parametrize("machine", ("q35", "pc"))
def test_removable_drives(tmp, vm_factory, mount_factory, machine, medium):
    """CD-ROMs and floppies are not in the tree and get no filter."""
    cdrom = images.create(f"{tmp}/cd", size=images.MiB) if medium else ""
    floppy = images.create(f"{tmp}/fd", size=1440 << 10) if medium else ""
    one = scene.of_disks(tmp, vm_factory, [make(tmp, "va")], machine=machine,
                         cdrom=cdrom, floppy=floppy)
    mnt = mount_factory(one.vm.qmp_path)
    assert_only(one, mnt, {"drive-cd", "drive-fd"})
    mnt.umount()
    one.assert_as_before()


def assert_only(one, mnt, others):
    """The VM has these drives too; they are as they were, and not shown."""
    names = {name.split(".")[0] for name in os.listdir(mnt.join("web01"))}
    assert names == {"va", "vm"}
    now = one.vm.state()["devices"]
    seen = {entry["device"] for entry in one.vm.execute("query-block")}
    assert others <= seen, seen
    for device, about in one.before["devices"].items():
        same = now[device] == about
        assert same == (device != one.vm.qdev("va")), device


@pytest.mark.parametrize("machine", ("q35", "pc"))
@pytest.mark.parametrize("method", ("filter", "job"))
def test_writable_pflash(tmp, vm_factory, mount_factory, method, machine):
    """It is a disk in query-block and would take a filter: never touched."""
    path = images.create(f"{tmp}/flash", size=4 * images.MiB)
    one = scene.of_disks(
        tmp, vm_factory, [make(tmp, "va")], machine=machine, accel="tcg",
        args=["-drive", f"if=pflash,unit=0,format=raw,file={path}"])
    mnt = mount_factory(one.vm.qmp_path, f"method={method}")
    assert_only(one, mnt, {"pflash0"})
    mnt.umount()
    one.assert_as_before()


@pytest.mark.parametrize("globs, chosen", (
    ("va", ["va"]), ("v*", ["va", "vb"]), ("sda:vb", ["sda", "vb"]),
    ("*", ["sda", "va", "vb"]), ("none:?a", ["va"])))
def test_disk_globs(tmp, vm_factory, mount_factory, globs, chosen):
    """A disk that is not chosen gets no filter."""
    disks = [make(tmp, name) for name in ("sda", "va", "vb")]
    three = scene.of_disks(tmp, vm_factory, disks)
    mnt = mount_factory(three.vm.qmp_path, f"disk={globs}")
    shown = sorted(name[:-4] for name in os.listdir(mnt.join("web01"))
                   if name.endswith(".raw"))
    assert shown == chosen
    for disk in disks:
        filtered = root_of(three.vm, disk.id) != f"{disk.id}-fmt"
        assert filtered == (disk.id in chosen), disk.id
    three.assert_shown(mnt, *chosen)
    mnt.umount()
    three.assert_as_before()


def plug(vm, disk):
    """Hot-plug a raw disk into the controller of va."""
    vm.execute("blockdev-add", {
        "driver": "raw", "node-name": f"{disk.id}-fmt",
        "file": {"driver": "file", "filename": disk.image}})
    vm.execute("device_add", {"driver": "scsi-hd", "bus": "scsi-va.0",
                              "id": disk.id, "drive": f"{disk.id}-fmt"})


def unplug(vm, disk_id):
    with vm.qmp() as qmp:
        qmp.execute("device_del", {"id": disk_id})
        qmp.wait_event("DEVICE_DELETED", {"device": disk_id})


def raw_files(mnt):
    return sorted(name for name in os.listdir(mnt.join("web01"))
                  if name.endswith(".raw"))


def test_hot_plug(tmp, vm_factory, mount_factory):
    """Each snapshot has the disks that are there at its instant."""
    one = scene.of_disks(tmp, vm_factory,
                         [make(tmp, "va", attachment="virtio-scsi")])
    plugged = make(tmp, "vb")
    sha = images.sha256(plugged.image)
    mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir")
    for there in (False, True, False):
        if there:
            plug(one.vm, plugged)
        during = one.vm.state()
        os.mkdir(mnt.join("web01"))
        assert raw_files(mnt) == ["va.raw", "vb.raw"][:1 + there]
        if there:
            one.vm.write("vb", 0, images.MiB, 0xee)
            assert images.sha256(plugged.image) != sha
            assert images.sha256(mnt.join("web01", "vb.raw")) == sha
        os.rmdir(mnt.join("web01"))
        assert one.vm.state() == during
        if there:
            unplug(one.vm, "vb")
            one.vm.execute("blockdev-del", {"node-name": "vb-fmt"})
    mnt.umount()
    one.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_unplug_under_a_snapshot(tmp, vm_factory, mount_factory, method):
    """The snapshot stays whole, and its end finds nothing to put back."""
    one = scene.of_disks(tmp, vm_factory,
                         [make(tmp, "va", attachment="virtio-scsi")])
    plugged = make(tmp, "vb")
    sha = images.sha256(plugged.image)
    plug(one.vm, plugged)
    mnt = mount_factory(one.vm.qmp_path, "discard", f"method={method}")
    one.vm.write("vb", 0, images.MiB, 0xee)
    unplug(one.vm, "vb")
    assert images.sha256(mnt.join("web01", "vb.raw")) == sha
    one.overwrite_all("va")
    one.assert_shown(mnt)
    mnt.umount()
    one.vm.execute("blockdev-del", {"node-name": "vb-fmt"})
    wait_for(lambda: one.vm.state() == one.before, what="the state before")


def test_paused_vm_frees_the_scratch(tmp, vm_factory, mount_factory):
    """QEMU keeps removed file descriptors as long as the VM is paused
    (monitor_fdset_cleanup): the file behind it is empty, and goes later."""
    one = scene.of_disks(tmp, vm_factory, [make(tmp, "va")], paused=True)
    mnt = mount_factory(one.vm.qmp_path)
    one.overwrite_all("va")
    mnt.umount()
    for fd in os.listdir(f"/proc/{one.vm.pid}/fd"):
        path = f"/proc/{one.vm.pid}/fd/{fd}"
        if "(deleted)" in os.readlink(path):
            assert os.stat(path).st_blocks == 0
    one.vm.execute("cont")
    one.before["status"] = "running"
    one.assert_as_before()
