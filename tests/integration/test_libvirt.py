# SPDX-License-Identifier: GPL-2.0-or-later
"""SOURCE is a libvirt: its domains are VM directories."""

import os
import shutil
import re
import signal
import subprocess

import pytest

import files
import guest
import images
import mount
from deadline import wait_for
from libvirtd import Drive

SIZE = 8 * images.MiB


def read(path):
    """All bytes of a file."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def drive(tmp, target, fmt="qcow2", size=SIZE, **more):
    """A drive with an image of its own, without data."""
    path = f"{tmp}/{target}.{fmt}"
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, path, str(size)],
                   check=True)
    return Drive(target, path, fmt, **more)


def dirty_ranges(mnt, disk, vm="web01"):
    """The ranges [(start, end), …] that .dirty calls dirty."""
    with open(mnt.join(vm, f"{disk}.dirty"), encoding="ascii") as file:
        return [(start, start + length)
                for start, length, status in files.parse_mapfile(file.read())
                if status == "+"]


def wait_broken(mnt, vm="web01"):
    """Wait until the snapshot has broken, and return why."""
    wait_for(lambda: mnt.vm_status(vm)["state"] == "broken",
             what="the snapshot to break")
    return mnt.vm_status(vm)["why"]


def test_full_snapshot(tmp, libvirt, mount_factory):
    """The content at the instant stays while the disk changes; then libvirt
    and QEMU are as they were."""
    domain = libvirt.start("web01", [
        drive(tmp, "vda"), drive(tmp, "vdb", "raw")])
    domain.write("vda", 0, 65536, 0x11)
    domain.write("vdb", 4096, 4096, 0x22)
    before = domain.state()
    mnt = mount_factory(libvirt.uri)
    assert domain.job() == "Unbounded"
    domain.write("vda", 0, 131072, 0x33)
    domain.write("vdb", 0, 8192, 0x44)
    domain.reads("vda", 0, 131072, 0x33)
    domain.reads("vdb", 0, 8192, 0x44)
    assert sorted(os.listdir(mnt.join("web01"))) == [
        "domain.xml", "vda.dirty", "vda.dirty.json", "vda.raw",
        "vdb.dirty", "vdb.dirty.json", "vdb.raw", "vm.json"]
    vda, vdb = (read(mnt.join("web01", f"{name}.raw"))
                for name in ("vda", "vdb"))
    assert vda == b"\x11" * 65536 + bytes(SIZE - 65536)
    assert vdb == bytes(4096) + b"\x22" * 4096 + bytes(SIZE - 8192)
    assert files.data_map(mnt.join("web01", "vda.raw")) == [(0, 65536)]
    status = mnt.vm_status("web01")
    assert status["method"] == "libvirt" and status["state"] == "live"
    assert mnt.disk_status("web01", "vda")["scratch_bytes"] > 65536
    mnt.umount()
    assert domain.state() == before


def test_domain_nvram(tmp, libvirt, mount_factory):
    """What UEFI remembers is beside the disks: of a domain that runs, of one
    that is off, and not where its file is gone."""
    nvram = f"{tmp}/web01.vars"
    shutil.copyfile("/usr/share/OVMF/OVMF_VARS_4M.fd", nvram)
    domain = libvirt.start("web01", [drive(tmp, "vda")], paused=True, features=(
        "<features><acpi/></features>"), boot=(
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd"
        f"</loader><nvram>{nvram}</nvram>"))
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir")
    shown = mnt.join("web01", "domain.nvram")
    for state in ("running", "off"):
        os.mkdir(mnt.join("web01"))
        assert "domain.nvram" in os.listdir(mnt.join("web01")), state
        assert os.stat(shown).st_size == os.path.getsize(nvram)
        assert read(shown) == read(nvram)
        os.rmdir(mnt.join("web01"))
        if state == "running":
            domain.virsh("destroy")
    os.unlink(nvram)
    os.mkdir(mnt.join("web01"))
    assert not os.path.exists(shown)
    assert nvram in mnt.stderr()
    mnt.umount()


def test_domain_xml(tmp, libvirt, mount_factory):
    """What the domain was like stands beside its disks, and is enough to
    define it again."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri)
    text = read(mnt.join("web01", "domain.xml")).decode()
    assert f"<source file='{tmp}/vda.qcow2'" in text
    assert os.stat(mnt.join("web01", "domain.xml")).st_size == len(text)
    mnt.umount()
    domain.virsh("destroy")
    domain.virsh("undefine")
    with open(f"{tmp}/again.xml", "w", encoding="utf-8") as file:
        file.write(text)
    libvirt.virsh("define", f"{tmp}/again.xml")
    domain.start()


def test_all_disks_at_one_instant(tmp, libvirt, mount_factory):
    """A guest writes to both disks all the time."""
    ring = guest.Ring(drives=2, slots=256)
    drives = [drive(tmp, target, size=32 * images.MiB,
                    extra=f"<boot order='{order}'/>")
              for order, target in enumerate(("vda", "vdb"), 1)]
    guest.install_qcow2(drives[0].image, ring)
    domain = libvirt.start("web01", [
        Drive(one.target, one.image, extra=one.extra) for one in drives])
    written = lambda: int(re.search(r"wr_req (\d+)", domain.virsh(
        "domblkstat", "vdb"))[1])
    wait_for(lambda: written() > 50, what="the guest to write")
    mnt = mount_factory(libvirt.uri)
    count = written()
    wait_for(lambda: written() > count + 300, what="the guest's writes")
    newest = [ring.newest(ring.read(mnt.join("web01", f"{name}.raw")))
              for name in ("vda", "vdb")]
    guest.same_instant(newest)
    mnt.umount()
    count = written()
    wait_for(lambda: written() > count + 50, what="the guest to go on")
    assert domain.taints() == []


def test_mkdir(tmp, libvirt, mount_factory):
    """snapshot=mkdir: domains come and go."""
    libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir")
    assert os.listdir(mnt.path) == []
    assert files.error_of(os.mkdir, mnt.join("db01")) == "ENOENT"
    late = libvirt.start("db01", [drive(tmp, "vdb")])
    wait_for(lambda: "db01" in str(mnt.status()["vms"]),
             what="the new domain to be listed")
    os.mkdir(mnt.join("db01"))
    assert late.job() == "Unbounded"
    os.rmdir(mnt.join("db01"))
    assert late.job() == "None"
    late.virsh("destroy")
    late.virsh("undefine")
    wait_for(lambda: "db01" not in str(mnt.status()["vms"]),
             what="the domain's end to be seen")
    os.mkdir(mnt.join("web01"))
    mnt.umount()


def test_made_anew(tmp, libvirt, mount_factory):
    """A domain that has the name of another that was there is no other's."""
    old = libvirt.start("web01", [drive(tmp, "vda")])
    uuid = old.virsh("domuuid")
    mnt = mount_factory(libvirt.uri)
    old.virsh("destroy")
    old.virsh("undefine")
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone",
             what="its end to be seen")
    new = libvirt.start("web01", [drive(tmp, "vdb")])
    assert new.virsh("domuuid") != uuid
    os.rmdir(mnt.join("web01"))
    wait_for(lambda: files.error_of(os.mkdir, mnt.join("web01")) == "none",
             what="the new one to be there")
    assert "vdb.raw" in os.listdir(mnt.join("web01"))
    mnt.umount()
    assert new.job() == "None"


@pytest.mark.parametrize("words, said", [
    (("discard",), "read-only"), (("read_once",), "read-only"),
    (("method=filter",), "'method'"),
    (("agent=/x",), "'agent'"), (("cbw_timeout=3",), "'cbw_timeout'"),
    (("bitmap=x",), "'bitmap'"), (("name=x",), "name="),
    (("via=monitor", "agent=/x"), "'agent'")])
def test_refused_options(tmp, libvirt, mount_factory, words, said):
    """What libvirt cannot do is refused with the reason."""
    mnt = mount_factory(libvirt.uri, *words, check=False)
    mnt.process.wait(60)
    assert mnt.returncode in (mount.USAGE, mount.MOUNT_FAILED)
    assert said in mnt.stderr() and not mnt.mounted()


def test_refused_disks(tmp, libvirt, mount_factory):
    """A disk that others write to is refused by its name, unless it is left
    out; a CD-ROM is none."""
    domain = libvirt.start("web01", [
        drive(tmp, "vda"), drive(tmp, "sdc", "raw", device="cdrom"),
        drive(tmp, "vdb", "raw", extra="<shareable/>")])
    before = domain.state()
    mnt = mount_factory(libvirt.uri, check=False)
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert "disk vdb: it is shareable" in mnt.stderr()
    assert domain.state() == before
    mnt = mount_factory(libvirt.uri, "disk=vda")
    assert sorted(os.listdir(mnt.join("web01"))) == [
        "domain.xml", "vda.dirty", "vda.dirty.json", "vda.raw",
        "vm.json"]
    mnt.umount()
    assert domain.state() == before


def test_iothreads(tmp, libvirt, mount_factory):
    """Our death would be a disconnect, which an old QEMU may not survive."""
    domain = libvirt.start(
        "web01", [drive(tmp, "vda", driver="iothread='1'")],
        features="<iothreads>1</iothreads>")
    version = domain.qmp("query-version")["qemu"]
    mnt = mount_factory(libvirt.uri, check=version["major"] >= 9)
    if version["major"] >= 9:
        mnt.umount()
        return
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert "unsafe_qemu" in mnt.stderr()
    mnt = mount_factory(libvirt.uri, "unsafe_qemu")
    assert "iothreads" in mnt.vm_status("web01")["warnings"][0]
    mnt.umount()


def test_no_libvirt_there(tmp, mount_factory):
    """Nobody listens: an error, not a hang."""
    uri = f"qemu+unix:///system?socket={tmp}/none"
    mnt = mount_factory(uri, check=False)
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert "libvirt" in mnt.stderr() and uri in mnt.stderr()


def test_foreign_job(tmp, libvirt, mount_factory):
    """A backup job of somebody else's is left alone."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    with open(f"{tmp}/job.xml", "w", encoding="utf-8") as file:
        file.write("<domainbackup mode='pull'><server transport='unix' "
                   f"socket='{tmp}/foreign'/></domainbackup>")
    domain.virsh("backup-begin", f"{tmp}/job.xml")
    mnt = mount_factory(libvirt.uri, check=False)
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert "somebody else's" in mnt.stderr()
    assert domain.job() == "Unbounded"
    domain.virsh("domjobabort")


def test_second_mount(tmp, libvirt, mount_factory):
    """One snapshot of a VM at a time; the first one's is not disturbed."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    domain.write("vda", 0, 65536, 0x11)
    first = mount_factory(libvirt.uri)
    second = mount_factory(libvirt.uri, name="second",
                           check=False)
    assert second.process.wait(60) == mount.MOUNT_FAILED
    assert f"pid {first.pid}" in second.stderr()
    assert read(first.join("web01", "vda.raw"))[:65536] == \
        b"\x11" * 65536
    first.umount()
    assert domain.job() == "None"


# --- what may happen to it ---


@pytest.mark.parametrize("how", ["destroy", "killed", "aborted"])
def test_domain_ends_under_its_snapshot(tmp, libvirt, mount_factory, how):
    """Readers get an error at once, and the mount lives on."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    other = libvirt.start("db01", [drive(tmp, "vdb")])
    mnt = mount_factory(libvirt.uri)
    if how == "destroy":
        domain.virsh("destroy")
    elif how == "aborted":
        domain.virsh("domjobabort")
    else:
        os.kill(domain.pid, signal.SIGKILL)
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone",
             what="the end to be seen")
    assert files.error_of(read,
                          mnt.join("web01", "vda.raw")) == "EIO"
    assert read(mnt.join("db01", "vdb.raw")) == bytes(SIZE)
    mnt.umount()
    assert other.job() == "None"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_libvirtd_restarts_under_a_snapshot(tmp, libvirt, mount_factory, how):
    """The job outlives libvirtd, and so does the snapshot."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    domain.write("vda", 0, 65536, 0x11)
    before = domain.state()
    mnt = mount_factory(libvirt.uri)
    libvirt.stop_daemon(how)
    assert read(mnt.join("web01", "vda.raw"))[:65536] == \
        b"\x11" * 65536
    libvirt.start_daemon()
    assert domain.job() == "Unbounded"
    domain.write("vda", 0, 65536, 0x22)
    assert read(mnt.join("web01", "vda.raw"))[:65536] == \
        b"\x11" * 65536
    mnt.umount()
    assert domain.state() == before


def test_scratch_limit(tmp, libvirt, mount_factory):
    """At its limit the snapshot goes, and the guest does not notice."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    domain.write("vda", 0, 2 * images.MiB, 0x11)
    mnt = mount_factory(libvirt.uri, "scratch_limit=1M",
                        f"scratch={tmp}")
    domain.write("vda", 0, 2 * images.MiB, 0x22)
    assert "scratch_limit" in wait_broken(mnt)
    wait_for(lambda: domain.job() == "None", what="the job's end")
    assert files.error_of(read,
                          mnt.join("web01", "vda.raw")) == "ESTALE"
    assert domain.domstate().startswith("running")
    mnt.umount()


def test_full_scratch_stops_no_guest(tmp, libvirt, mount_factory):
    """The guest fills the scratch faster than anybody looks: libvirt's QEMU
    stops it, and we let it go on without the snapshot.

    The place is one that only libvirt sees: what we make is not there, so it
    makes the scratch itself.
    """
    scratch = f"{tmp}/scratch"
    ring = guest.Ring(slots=1024, sectors=32)
    one = drive(tmp, "vda", size=64 * images.MiB)
    guest.install_qcow2(one.image, ring)
    images.run("qemu-io", "-c", f"write -P 1 {ring.offset} {ring.length}",
               one.image)
    os.mkdir(scratch)
    libvirt.in_namespace("mount", "-t", "tmpfs", "-o", "size=1m", "none",
                         scratch)
    domain = libvirt.start("web01", [one], paused=True)
    mnt = mount_factory(libvirt.uri, f"scratch={scratch}")
    assert "libvirt makes the scratch: " in mnt.report()
    assert not os.listdir(scratch)
    domain.virsh("resume")
    why = wait_broken(mnt)
    assert "scratch" in why
    wait_for(lambda: domain.domstate().startswith("running"),
             what="the guest to run")
    wait_for(lambda: domain.job() == "None", what="the job's end")
    count = guest_writes(domain)
    wait_for(lambda: guest_writes(domain) > count + 50,
             what="the guest to go on")
    mnt.umount()


def guest_writes(domain, target="vda"):
    """How many writes the guest has finished."""
    said = domain.virsh("domblkstat", target)
    return int(re.search(r"wr_req (\d+)", said)[1])


def test_killed_daemon(tmp, libvirt, mount_factory):
    """The guardian aborts the job and deletes what is pending."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    before = domain.state()
    mnt = mount_factory(libvirt.uri, "chain=n")
    assert len(domain.checkpoints()) == 1
    mnt.kill(guardian=False)
    wait_for(lambda: domain.state() == before, what="all to be undone")
    wait_for(lambda: not mnt.processes(), what="the guardian's end")
    assert not mnt.mounted()


def test_all_killed(tmp, libvirt, mount_factory):
    """With the guardian dead, too, the next mount cleans up."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    before = domain.state()
    mnt = mount_factory(libvirt.uri, "chain=n")
    mnt.kill()
    wait_for(lambda: not mnt.processes(), what="all to be dead")
    assert domain.job() == "Unbounded"
    subprocess.run(["umount", "-l", mnt.path], check=True)
    mnt = mount_factory(libvirt.uri, "chain=n", name="again")
    assert "undoing what a dead fleecefs" in mnt.stderr()
    assert mnt.disk_status("web01", "vda")["reason"] == "first"
    mnt.umount()
    assert domain.state() == before
