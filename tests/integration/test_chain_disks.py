# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to disks between two backups, and what the chain makes of it.

A disk whose bitmap cannot be trusted is full, with the right reason, and the
others are incremental.
"""

import shutil
import subprocess

import pytest

import images
import scene
from deadline import wait_for
from disk import Disk
from files import error_of
from nights import Nights
from refusal import said_by

KiB, MiB = images.KiB, images.MiB
CLUSTER = 64 * KiB
SIZE = 4 * MiB
FOREIGN = ("libvirt-cp1", "pbs-incremental-dirty-bitmap", "user")
UUID = "11111111-2222-3333-4444-55555555555%d"


def build(tmp, vm_factory, kinds="qr", **vm_options):
    """A VM with disks va, vb … of kinds q(cow2) and r(aw)."""
    disks = [("v" + "abc"[number], {"q": "qcow2", "r": "raw"}[kind], SIZE)
             for number, kind in enumerate(kinds)]
    return scene.build(tmp, vm_factory, disks, **vm_options)


def plug(vm, disk_id, image):
    """Hot-plug a qcow2 disk beside va."""
    with vm.qmp() as qmp:
        qmp.execute("blockdev-add", {
            "driver": "qcow2", "node-name": f"{disk_id}-fmt",
            "file": {"driver": "file", "filename": str(image),
                     "node-name": f"{disk_id}-file"}})
        qmp.execute("device_add", {
            "driver": "scsi-hd", "id": disk_id, "bus": "scsi-va.0",
            "drive": f"{disk_id}-fmt"})


def unplug(vm, disk_id):
    with vm.qmp() as qmp:
        qmp.execute("device_del", {"id": disk_id})
        qmp.wait_event("DEVICE_DELETED", {"device": disk_id})
        qmp.execute("blockdev-del", {"node-name": f"{disk_id}-fmt"})


def test_hot_plugged_and_unplugged(tmp, vm_factory, mount_factory):
    """A new disk is full; one that was away for a night is, too."""
    one = build(tmp, vm_factory, "q",
                disk_options={"attachment": "virtio-scsi"})
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    image = images.make("qcow2", f"{tmp}/vz.img", SIZE, seed=9)
    plug(one.vm, "vz", image)
    assert nights.backup()[0] == {"va": None, "vz": "new-disk"}
    assert nights.backup()[0] == {"va": None, "vz": None}
    unplug(one.vm, "vz")
    assert nights.backup()[0] == {"va": None}
    plug(one.vm, "vz", image)
    assert nights.backup()[0] == {"va": None, "vz": "new-disk"}
    assert nights.backup()[0] == {"va": None, "vz": None}
    nights.mnt.umount()


def test_left_out(tmp, vm_factory, mount_factory):
    """A disk that was left out for a night is full the next time."""
    two = build(tmp, vm_factory, "qq")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    half = Nights(tmp, two, mount_factory, "disk=va", name="half")
    assert half.backup()[0] == {"va": None}
    assert nights.backup()[0] == {"va": None, "vb": "new-disk"}
    half.mnt.umount()
    nights.mnt.umount()


def test_clean_restart(tmp, vm_factory, mount_factory):
    two = build(tmp, vm_factory, "qr")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.write("va", 0, 512, 0x11)
    two.vm.quit()
    two.vm.start()
    two.vm.write("va", CLUSTER, 512, 0x12)
    nights.snapshot()
    assert nights.modes() == {"va": None, "vb": "transient-lost"}
    assert nights.dirty("va") == [(0, 2 * CLUSTER)]
    nights.release()
    nights.backup()
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_killed_qemu(tmp, vm_factory, mount_factory):
    """The bitmap on disk is inconsistent: dropped, full, and on again."""
    two = build(tmp, vm_factory, "qq")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.quit()
    two.vm.start()
    before = nights.checkpoints("va")
    two.vm.kill()
    two.vm.start()
    assert nights.checkpoints("va") == before
    assert nights.snapshot()["disks"][0]["reason"] == "inconsistent"
    assert before[0] not in nights.checkpoints("va")
    nights.commit()
    nights.release()
    two.vm.write("va", 0, 512, 0x13)
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_all_killed_with_a_pending_one(tmp, vm_factory, mount_factory):
    """A pending bitmap that got into the image is dropped like any other."""
    one = build(tmp, vm_factory, "q")
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    nights.snapshot()
    nights.mnt.kill()
    wait_for(lambda: not nights.mnt.processes(), what="the end of all")
    subprocess.run(["umount", "-l", nights.mnt.path], check=True)
    one.vm.quit()
    one.vm.start()
    nights = Nights(tmp, one, mount_factory, name="again")
    assert len(nights.checkpoints("va")) == 2
    one.vm.write("va", 0, 512, 0x14)
    nights.snapshot()
    assert nights.modes() == {"va": None}
    assert nights.dirty("va") == [(0, CLUSTER)]
    assert len(nights.checkpoints("va")) == 2
    nights.release()
    assert len(nights.checkpoints("va")) == 1
    nights.mnt.umount()


def test_resized(tmp, vm_factory, mount_factory):
    two = build(tmp, vm_factory, "qr")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.execute("block_resize", {"node-name": "va-fmt",
                                    "size": SIZE + MiB})
    assert nights.backup()[0] == {"va": "resized", "vb": None}
    assert len(nights.checkpoints("va")) == 1
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_not_recording(tmp, vm_factory, mount_factory):
    two = build(tmp, vm_factory, "qr")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.execute("block-dirty-bitmap-disable", {
        "node": "vb-fmt", "name": nights.checkpoints("vb")[0]})
    assert nights.backup()[0] == {"va": None, "vb": "not-recording"}
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_swapped(tmp, vm_factory, mount_factory):
    """Two disks change places: neither bitmap passes for the other's."""
    two = build(tmp, vm_factory, "qq")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.quit()
    for left, right in (("va", "tmp"), ("vb", "va"), ("tmp", "vb")):
        shutil.move(f"{tmp}/web01-{left}.img", f"{tmp}/web01-{right}.img")
    two.vm.start()
    assert nights.backup()[0] == {"va": "foreign-base", "vb": "foreign-base"}
    assert len(nights.checkpoints("va")) == 1
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_cloned(tmp, vm_factory, mount_factory):
    """A clone has the bitmaps of the original, and another uuid."""
    one = build(tmp, vm_factory, "q", args=("-uuid", UUID % 1))
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    one.vm.quit()
    one.vm.command[one.vm.command.index(UUID % 1)] = UUID % 2
    one.vm.start()
    assert nights.backup()[0] == {"va": "foreign-base"}
    assert nights.backup()[0] == {"va": None}
    nights.mnt.umount()


def test_rolled_back(tmp, vm_factory, mount_factory):
    """An older image comes back: since= finds out, and nothing is changed."""
    one = build(tmp, vm_factory, "q")
    nights = Nights(tmp, one, mount_factory)
    first = nights.backup()[1]
    one.vm.quit()
    shutil.copy(f"{tmp}/web01-va.img", f"{tmp}/old.img")
    one.vm.start()
    one.vm.write("va", 0, 512, 0x15)
    second = nights.backup()[1]
    nights.mnt.umount()
    one.vm.quit()
    shutil.copy(f"{tmp}/old.img", f"{tmp}/web01-va.img")
    one.vm.start()
    before = one.vm.state()
    refused = mount_factory(one.vm.qmp_path, "chain=nightly",
                            f"since={second}", check=False, name="refused")
    for word in ("VM web01", "disk va", "since-missing", second, first):
        assert word in said_by(refused)
    assert refused.returncode == 32 and one.vm.state() == before
    full = Nights(tmp, one, mount_factory, f"since={second}",
                  "fallback=full", name="full")
    assert full.backup()[0] == {"va": "since-missing"}
    full.mnt.umount()


def test_since_something_broken(tmp, vm_factory, mount_factory):
    """An inconsistent base is no base, and is still there afterwards."""
    one = build(tmp, vm_factory, "q")
    nights = Nights(tmp, one, mount_factory)
    since = nights.backup()[1]
    one.vm.quit()
    one.vm.start()
    one.vm.kill()
    one.vm.start()
    before = one.vm.state()
    broken = Nights(tmp, one, mount_factory, f"since={since}", name="broken")
    assert error_of(broken.snapshot) == "ENOENT"
    said = broken.mnt.vm_status("web01")["error"]
    assert "inconsistent" in said and since in said
    assert one.vm.state() == before
    broken.mnt.umount()
    nights.mnt.umount()


def test_clock_behind(tmp, vm_factory, mount_factory):
    """Instants grow, whatever the clock says; a log line tells."""
    one = build(tmp, vm_factory, "q")
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    name = nights.checkpoints("va")[0]
    parts = name.split(".")
    future = ".".join(parts[:2] + ["20990101T000000000Z"] + parts[3:])
    one.vm.execute("block-dirty-bitmap-add", {
        "node": "va-fmt", "name": future, "persistent": True})
    one.vm.write("va", 0, 512, 0x16)
    assert nights.snapshot()["instant"] == "20990101T000000001Z"
    assert nights.dirty("va") == [(0, CLUSTER)]
    nights.commit()
    nights.release()
    assert len(nights.checkpoints("va")) == 1
    assert nights.snapshot()["instant"] == "20990101T000000002Z"
    nights.release()
    nights.mnt.umount()
    assert "clock" in nights.mnt.stderr()


def external_snapshot(vm, tmp, disk_id="va"):
    """An overlay on a disk, as an administrator makes it."""
    overlay = images.create(f"{tmp}/overlay.img", "qcow2", SIZE)
    with vm.qmp() as qmp:
        qmp.execute("blockdev-add", {
            "driver": "qcow2", "node-name": "overlay", "backing": None,
            "file": {"driver": "file", "filename": overlay}})
        qmp.execute("blockdev-snapshot", {"node": f"{disk_id}-fmt",
                                          "overlay": "overlay"})


def commit_overlay(vm, disk_id="va"):
    """blockcommit: the overlay goes back into the disk."""
    with vm.qmp() as qmp:
        qmp.execute("block-commit", {
            "job-id": "commit", "device": "overlay",
            "base-node": f"{disk_id}-fmt"})
        qmp.wait_event("BLOCK_JOB_READY", {"device": "commit"})
        qmp.execute("block-job-complete", {"device": "commit"})
        qmp.wait_event("BLOCK_JOB_COMPLETED", {"device": "commit"})


def test_external_snapshot(tmp, vm_factory, mount_factory):
    """The bitmap is left on the lower layer: full, then incremental; after a
    blockcommit the old one is back, and what it says is enough."""
    two = build(tmp, vm_factory, "qr")
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    two.vm.write("va", 0, 512, 0x17)
    external_snapshot(two.vm, tmp)
    two.vm.write("va", CLUSTER, 512, 0x18)
    assert nights.backup()[0] == {"va": "layer", "vb": None}
    two.vm.write("va", 2 * CLUSTER, 512, 0x19)
    assert nights.backup()[0] == {"va": None, "vb": None}
    commit_overlay(two.vm)
    two.vm.write("va", 3 * CLUSTER, 512, 0x1a)
    assert nights.backup()[0] == {"va": "new-disk", "vb": None}
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_external_snapshot_that_copies_names(tmp, vm_factory, mount_factory):
    """libvirt gives the overlay an empty bitmap of the same name: that alone
    must not pass for the base."""
    one = build(tmp, vm_factory, "q")
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    name = nights.checkpoints("va")[0]
    one.vm.write("va", 0, 512, 0x1b)
    external_snapshot(one.vm, tmp)
    one.vm.execute("block-dirty-bitmap-add", {
        "node": "overlay", "name": name, "persistent": True})
    one.vm.write("va", CLUSTER, 512, 0x1c)
    assert nights.backup()[0] == {"va": "layer"}
    assert nights.backup()[0] == {"va": None}
    nights.mnt.umount()


def test_external_snapshot_during_the_backup(tmp, vm_factory, mount_factory):
    """The pending bitmap stops recording: it is no checkpoint."""
    two = build(tmp, vm_factory, "qr")
    nights = Nights(tmp, two, mount_factory, "method=filter")
    nights.snapshot()
    external_snapshot(two.vm, tmp)
    two.vm.write("va", 0, 512, 0x1d)
    assert nights.update() == 0
    nights.assert_copied()
    nights.commit()
    nights.release()
    assert nights.backup()[0] == {"va": "layer", "vb": None}
    assert nights.backup()[0] == {"va": None, "vb": None}
    nights.mnt.umount()


def test_under_a_filter(tmp, vm_factory, mount_factory):
    """A throttle cannot hold bitmaps: they are on the node below it."""
    one = build(tmp, vm_factory, "q", disk_options={"throttle": True})
    nights = Nights(tmp, one, mount_factory)
    nights.backup()
    one.vm.write("va", CLUSTER, 512, 0x1e)
    nights.snapshot()
    assert nights.modes() == {"va": None}
    assert nights.dirty("va") == [(CLUSTER, CLUSTER)]
    nights.release()
    nights.mnt.umount()


def test_read_only(tmp, vm_factory, mount_factory):
    """Nobody can write to it, and it cannot keep a bitmap."""
    image = images.make("qcow2", f"{tmp}/va.img", SIZE)
    other = images.make("qcow2", f"{tmp}/vb.img", SIZE, seed=5)
    two = scene.of_disks(tmp, vm_factory, [
        Disk("va", image, "qcow2", read_only=True),
        Disk("vb", other, "qcow2")])
    nights = Nights(tmp, two, mount_factory)
    assert nights.backup()[0] == {"va": "read-only", "vb": "first"}
    assert nights.backup()[0] == {"va": "read-only", "vb": None}
    nights.mnt.umount()


def test_version_two(tmp, vm_factory, mount_factory):
    """qcow2 of version 2 has no bitmaps: they last as long as QEMU."""
    image = f"{tmp}/va.img"
    images.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10",
               image, SIZE)
    other = images.make("qcow2", f"{tmp}/vb.img", SIZE, seed=5)
    two = scene.of_disks(tmp, vm_factory, [Disk("va", image, "qcow2"),
                                           Disk("vb", other, "qcow2")])
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    assert nights.backup()[0] == {"va": None, "vb": None}
    two.vm.quit()
    two.vm.start()
    assert nights.backup()[0] == {"va": "transient-lost", "vb": None}
    nights.mnt.umount()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_foreign_bitmaps(tmp, vm_factory, mount_factory, method):
    """Those of others are as they were, after whatever we do."""
    one = build(tmp, vm_factory, "q")
    for name in FOREIGN:
        one.vm.execute("block-dirty-bitmap-add", {
            "node": "va-fmt", "name": name, "persistent": name != "user",
            "disabled": name == "user", "granularity": 32 * KiB})
    nights = Nights(tmp, one, mount_factory, f"method={method}")

    def foreign():
        return {name: (bitmap["recording"], bitmap["persistent"],
                       bitmap["busy"], bitmap["granularity"])
                for name, bitmap in one.vm.bitmaps("va-fmt").items()
                if name in FOREIGN}

    before = foreign()
    assert len(before) == 3
    for commit in (True, False, True):
        one.vm.write("va", 0, 512, 0x1f)
        nights.snapshot()
        assert foreign() == before
        if commit:
            nights.commit()
        assert foreign() == before
        nights.release()
        assert foreign() == before
    assert one.vm.bitmaps("va-fmt")["libvirt-cp1"]["count"] == 32 * KiB
    assert one.vm.bitmaps("va-fmt")["user"]["count"] == 0
    nights.mnt.umount()
