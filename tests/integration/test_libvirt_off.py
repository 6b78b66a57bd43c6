# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains of a libvirt that are shut off."""

import os
import signal
import subprocess

import pytest

import images
import mount
from deadline import wait_for
from files import error_of
from libvirtd import Drive, VirshError
from test_libvirt import SIZE, dirty_ranges, drive, read
from test_libvirt_chain import CHAIN, K64, night, reason


def write(one, pattern, offset=0, length=K64):
    """Into the image of a Drive that nobody has open."""
    images.write_patterns(one.image, one.fmt, [(pattern, offset, length)])
    return one


def content(one):
    """What a guest would read from a Drive."""
    path = images.to_raw(one.image, one.fmt, f"{one.image}.content")
    return read(path)


def overlay(tmp, target, below, **more):
    """A Drive with an image above that of another."""
    path = images.create(f"{tmp}/{target}.qcow2", "qcow2", SIZE,
                         backing=below.image, backing_fmt=below.fmt)
    return Drive(target, path, **more)


def listed(mnt, name="web01"):
    return name in [vm["vm"] for vm in mnt.status()["vms"]]


def test_shown_and_locked(tmp, libvirt, mount_factory):
    """The same tree; no start while it stands; then it is as always."""
    base = write(drive(tmp, "base"), 0x11)
    drives = [write(overlay(tmp, "vda", base), 0x22, K64),
              write(drive(tmp, "vdb", "raw"), 0x33),
              drive(tmp, "sdc", "raw", device="cdrom")]
    domain = libvirt.define("web01", drives)
    mnt = mount_factory(libvirt.uri)
    assert sorted(os.listdir(mnt.join("web01"))) == [
        "domain.xml", "vda.dirty", "vda.dirty.json", "vda.raw",
        "vdb.dirty", "vdb.dirty.json", "vdb.raw", "vm.json"]
    for one in drives[:2]:
        assert read(mnt.join("web01", f"{one.target}.raw")) == content(one)
    assert base.image not in read(mnt.join("web01", "domain.xml")).decode()
    status = mnt.vm_status("web01")
    assert (status["method"], status["state"]) == ("image", "live")
    assert reason(mnt, "vda") == "no-chain"
    with pytest.raises(VirshError, match='"write" lock'):
        domain.start()
    assert read(mnt.join("web01", "vda.raw")) == content(drives[0])
    os.rmdir(mnt.join("web01"))
    domain.start()
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["method"] == "libvirt"
    domain.write("vda", 0, 4096, 0x44)
    assert read(mnt.join("web01", "vda.raw"))[:4096] == b"\x11" * 4096
    os.rmdir(mnt.join("web01"))
    domain.virsh("destroy", "--graceful")
    os.mkdir(mnt.join("web01"))
    assert read(mnt.join("web01", "vda.raw"))[:4096] == b"\x44" * 4096
    assert mnt.vm_status("web01")["method"] == "image"
    mnt.umount()
    domain.start()


def test_comes_and_goes(tmp, libvirt, mount_factory):
    """Defined, undefined with its images under its snapshot, and gone."""
    libvirt.define("db01", [drive(tmp, "vdz")])
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir")
    assert listed(mnt, "db01") and not listed(mnt)
    assert error_of(os.mkdir, mnt.join("web01")) == "ENOENT"
    one = write(drive(tmp, "vda"), 0x11)
    domain = libvirt.define("web01", [one])
    wait_for(lambda: listed(mnt), what="the new domain to be listed")
    os.mkdir(mnt.join("web01"))
    domain.virsh("undefine")
    os.unlink(one.image)
    assert read(mnt.join("web01", "vda.raw"))[:K64] == b"\x11" * K64
    os.rmdir(mnt.join("web01"))
    wait_for(lambda: not listed(mnt), what="the end of the domain")
    assert error_of(os.mkdir, mnt.join("web01")) == "ENOENT"
    mnt.umount()


def test_xml_says_what_is_below(tmp, libvirt, mount_factory):
    """As with a start: not what the image says, where they differ."""
    base, other = (write(drive(tmp, name), number)
                   for number, name in enumerate(("base", "other"), 1))
    below = ("<backingStore type='file'><format type='qcow2'/>"
             f"<source file='{other.image}'/><backingStore/></backingStore>")
    libvirt.define("web01", [overlay(tmp, "vda", base),
                             overlay(tmp, "vdb", base, extra=below),
                             overlay(tmp, "vdc", base,
                                     extra="<backingStore/>")])
    mnt = mount_factory(libvirt.uri)
    assert [read(mnt.join("web01", f"{disk}.raw"))[:1]
            for disk in ("vda", "vdb", "vdc")] == [b"\1", b"\2", b"\0"]
    mnt.umount()


NETWORK = ("<disk type='network'><source protocol='nbd' name='x'>"
           "<host name='localhost' port='1'/></source>"
           "<target dev='vdb'/></disk>")


@pytest.mark.parametrize("fmt, devices, said", (
    (None, NETWORK, "disk vdb: its source is of the type 'network'"),
    ("vmdk", "", "disk vdb: its format is 'vmdk'")))
def test_refused(tmp, libvirt, mount_factory, fmt, devices, said):
    """A disk that cannot be read without libvirt's QEMU: by its name, unless
    it is left out."""
    drives = [drive(tmp, "vda"), *([drive(tmp, "vdb", fmt)] if fmt else [])]
    libvirt.define("web01", drives, devices=devices)
    mnt = mount_factory(libvirt.uri, check=False)
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert said in mnt.stderr()
    mnt = mount_factory(libvirt.uri, "disk=vda")
    assert read(mnt.join("web01", "vda.raw")) == bytes(SIZE)
    mnt.umount()


def test_image_is_in_use(tmp, libvirt, mount_factory):
    """By another domain, whose snapshot stands all the same."""
    shared = drive(tmp, "vda")
    libvirt.start("db01", [shared])
    libvirt.define("web01", [shared])
    mnt = mount_factory(libvirt.uri)
    assert os.listdir(mnt.path) == ["db01"]
    assert "open for writing" in mnt.vm_status("web01")["error"]
    assert error_of(os.mkdir, mnt.join("web01")) == "EBUSY"
    mnt.umount()


def test_chain(tmp, libvirt, mount_factory):
    """What was written since the base, without a commit; the chain goes on
    when the domain runs again.  A bitmap that cannot be trusted is none."""
    domain = libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb"),
                                     drive(tmp, "vdr", "raw")])
    night(mount_factory, libvirt, "keep=2")
    domain.write("vda", 2 * K64, K64, 0x22)
    domain.virsh("destroy", "--graceful")
    names = domain.checkpoints()

    def refused(mnt):
        assert error_of(mnt.control, "commit web01") == "EOPNOTSUPP"
        assert "switched off" in mnt.vm_status("web01")["error"]
        assert mnt.vm_status("web01")["state"] == "live"

    reasons, dirty = night(mount_factory, libvirt, commit=False,
                           change=refused)
    assert reasons == {"vda": None, "vdb": None, "vdr": "no-bitmap"}
    assert dirty == {"vda": [(2 * K64, 3 * K64)], "vdb": [],
                     "vdr": [(0, SIZE)]}
    assert domain.checkpoints() == names
    images.run("qemu-img", "bitmap", "--disable", f"{tmp}/vdb.qcow2",
               names[0])
    assert night(mount_factory, libvirt, commit=False)[0] == {
        "vda": None, "vdb": "not-recording", "vdr": "no-bitmap"}
    images.run("qemu-img", "bitmap", "--enable", f"{tmp}/vdb.qcow2", names[0])
    domain.start()
    domain.write("vda", 4 * K64, K64, 0x33)
    assert night(mount_factory, libvirt)[1]["vda"] == [
        (2 * K64, 3 * K64), (4 * K64, 5 * K64)]
    os.kill(domain.pid, signal.SIGKILL)
    wait_for(lambda: domain.domstate().startswith("shut off"),
             what="libvirt to see the end")
    assert night(mount_factory, libvirt, commit=False)[0] == {
        "vda": "inconsistent", "vdb": "inconsistent", "vdr": "no-bitmap"}


def test_chain_below_an_overlay(tmp, libvirt, mount_factory):
    """A part of what was written is in a bitmap further below: all is read,
    and the bytes are those of both layers."""
    domain = libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb")])
    night(mount_factory, libvirt)
    domain.write("vda", 2 * K64, K64, 0x22)
    domain.virsh("snapshot-create-as", "--disk-only", "--no-metadata",
                 "--diskspec", f"vda,file={tmp}/top.qcow2",
                 "--diskspec", "vdb,snapshot=no")
    domain.write("vda", 4 * K64, K64, 0x33)
    domain.virsh("destroy", "--graceful")
    mnt = mount_factory(libvirt.uri, CHAIN)
    assert reason(mnt, "vda") == "layer"
    assert dirty_ranges(mnt, "vda") == [(0, SIZE)]
    shown = read(mnt.join("web01", "vda.raw"))
    assert shown[2 * K64:3 * K64] == b"\x22" * K64
    assert shown[4 * K64:5 * K64] == b"\x33" * K64
    mnt.umount()


def test_killed(tmp, libvirt, mount_factory):
    """Whoever reads the images ends with the daemon, and with it the lock.
    There was nothing to be frozen."""
    domain = libvirt.define("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, "freeze=require")
    assert mnt.vm_status("web01")["frozen"] is None
    os.kill(mnt.pid, signal.SIGKILL)
    wait_for(lambda: not mnt.processes(), what="the guardian's end")

    def starts():
        return not subprocess.run(
            ["qemu-io", "-c", "write 0 512", f"{tmp}/vda.qcow2"],
            capture_output=True, check=False).returncode

    wait_for(starts, what="the lock to go")
    domain.start()
