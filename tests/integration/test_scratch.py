# SPDX-License-Identifier: GPL-2.0-or-later
"""Scratch has a limit, and whoever is over it goes: never a guest's write."""

import os

import pytest

import images
import mount
import scene
from deadline import wait_for
from files import error_of, read_at

MiB = images.MiB
TWO = (("va", "qcow2", 8 * MiB), ("vb", "raw", 8 * MiB))
METHODS = ("filter", "job")


@pytest.fixture
def scratch(tmpfs):
    """A filesystem of its own for scratch."""
    return tmpfs("64m")


def given_up(mnt, vm, *words):
    """Wait until the VM's snapshot is broken; all the words say why."""
    wait_for(lambda: mnt.vm_status(vm)["state"] == "broken",
             what=f"{vm} to be given up")
    why = mnt.vm_status(vm)["why"]
    for word in words:
        assert word in why, why


def taken_out(one):
    """QEMU is as before, although the directory still stands."""
    wait_for(lambda: one.vm.state() == one.before, what="QEMU as before")


def test_limit(tmp, vm_factory, mount_factory, scratch):
    """What goes over it is given up; the guest has not noticed."""
    one = scene.build(tmp, vm_factory, TWO)
    # discard: what is in the page cache may still be read, as it is right
    mnt = mount_factory(one.vm.qmp_path, f"scratch={scratch}", "discard",
                        "scratch_limit=2M", "method=filter")
    one.vm.write("va", 0, MiB, 0x11)
    one.assert_shown(mnt)
    assert mnt.vm_status("web01")["state"] == "live"
    one.overwrite_all("va", 0x12)
    given_up(mnt, "web01", "scratch_limit", "2.0 MiB")
    taken_out(one)
    assert error_of(read_at, one.file(mnt, "va"), 0, 512) == "ESTALE"
    assert error_of(read_at, one.file(mnt, "vb"), 0, 512) == "ESTALE"
    assert os.statvfs(scratch).f_bfree == os.statvfs(scratch).f_blocks
    one.overwrite_all("va", 0x13)
    os.rmdir(mnt.join("web01"))
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["state"] == "live"
    mnt.umount()
    one.assert_as_before()


def test_limit_by_job(tmp, vm_factory, mount_factory, scratch):
    """Before QEMU 10.1 the scratch is reserved, and the limit reached at
    once."""
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path, f"scratch={scratch}",
                        "scratch_limit=10M", "method=job")
    if one.vm.version >= (10, 1):
        assert mnt.vm_status("web01")["state"] == "live"
        one.overwrite_all("va", 0x15)
        one.overwrite_all("vb", 0x15)
    given_up(mnt, "web01", "scratch_limit")
    taken_out(one)
    one.overwrite_all("va", 0x14)
    mnt.umount()
    one.assert_as_before()


def test_reserve(tmp, vm_factory, mount_factory, scratch):
    """Others fill the filesystem, and the snapshot makes room."""
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path, f"scratch={scratch}",
                        "scratch_reserve=25%", "method=filter")
    one.overwrite_all("va", 0x15)
    assert mnt.vm_status("web01")["state"] == "live"
    with open(f"{scratch}/other", "wb") as file:
        file.write(bytes(48 * MiB))
    given_up(mnt, "web01", "scratch_reserve", scratch)
    taken_out(one)
    os.unlink(f"{scratch}/other")
    mnt.umount()
    one.assert_as_before()


def test_the_largest_goes(tmp, vm_factory, mount_factory, scratch):
    """The limit is for all VMs together; the others' snapshots stand."""
    small = scene.build(tmp, vm_factory, TWO, name="small")
    large = scene.build(tmp, vm_factory, TWO, name="large")
    mnt = mount_factory(tmp, f"scratch={scratch}", "scratch_limit=10M",
                        "method=filter")
    small.vm.write("va", 0, MiB, 0x16)
    large.overwrite_all("va", 0x17)
    assert mnt.vm_status("large")["state"] == "live"
    small.vm.write("vb", 0, 2 * MiB, 0x18)
    given_up(mnt, "large", "8.0 MiB")
    taken_out(large)
    small.vm.write("va", 0, 4 * MiB, 0x19)
    small.assert_shown(mnt)
    assert mnt.vm_status("small")["state"] == "live"
    mnt.umount()
    small.assert_as_before()


@pytest.mark.parametrize("disks", (TWO, TWO[:1]), ids=("two", "one"))
def test_broken_by_itself(tmp, vm_factory, mount_factory, scratch, disks):
    """QEMU gives it up, since scratch is full: it is taken out, too."""
    one = scene.build(tmp, vm_factory, disks)
    mnt = mount_factory(one.vm.qmp_path, f"scratch={scratch}",
                        "scratch_limit=1T", "scratch_reserve=0",
                        "method=filter")
    with open(f"{scratch}/other", "wb") as file:
        file.write(bytes(62 * MiB))
    one.overwrite_all("va", 0x1a)
    assert error_of(images.sha256, one.file(mnt, "va")) == "ESTALE"
    given_up(mnt, "web01", "QEMU broke the snapshot")
    taken_out(one)
    os.unlink(f"{scratch}/other")
    mnt.umount()
    one.assert_as_before()
    assert one.vm.run_state() == "running"


def test_is_told_at_the_start(tmp, vm_factory, mount_factory, scratch):
    """What it may come to, and whether the guest's own image is in danger."""
    one = scene.build(tmp, vm_factory, TWO)
    apart = mount_factory(one.vm.qmp_path, f"scratch={scratch}",
                          "scratch_limit=9M", "snapshot=mount")
    wait_for(lambda: "may be used" in apart.stderr(), what="the line")
    assert ("scratch: 16 MiB if the guests overwrite all that is shown; "
            "9.0 MiB may be used, then a snapshot is given up\n"
            in apart.stderr())
    assert apart.vm_status("web01")["warnings"] == apart.warnings("web01")
    apart.umount()
    shared = mount_factory(one.vm.qmp_path, f"scratch={tmp}", name="shared")
    (warning,) = [text for text in shared.vm_status("web01")["warnings"]
                  if text.startswith("scratch=")]
    assert "image of disk va" in warning
    wait_for(lambda: "it is on the filesystem of a guest's image"
             in shared.stderr(), what="the line")
    assert "guest's image" not in apart.stderr()
    shared.umount()
    one.assert_as_before()


def test_df(tmp, vm_factory, mount_factory, scratch):
    """df shows what there may be of scratch, and what is left of that."""
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path, f"scratch={scratch}",
                        "scratch_limit=16M", "method=filter")

    def space():
        fs = os.statvfs(mnt.path)
        return fs.f_blocks * fs.f_frsize, fs.f_bavail * fs.f_frsize

    assert space() == (16 * MiB, 16 * MiB)
    one.vm.write("va", 0, 4 * MiB, 0x1b)
    assert space() == (16 * MiB, 12 * MiB)
    mnt.umount()


@pytest.mark.parametrize("words", (
    ("scratch_limit=0",), ("scratch_limit=10GB",), ("scratch_limit=101%",),
    ("scratch_reserve=x",), ("scratch_reserve=-1",)))
def test_bad_values(tmp, vm_factory, mount_factory, words):
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path, *words, check=False)
    assert mnt.returncode == mount.USAGE, mnt.report()
    assert words[0] in mnt.stderr() and "512M" in mnt.stderr()
    one.assert_as_before()
