# SPDX-License-Identifier: GPL-2.0-or-later
"""via=monitor: a domain's snapshot by its own QEMU, through libvirt.

The domains of the other tests are tainted by the tests themselves; what is
here about taints asks libvirt alone before.
"""

import contextlib
import json
import os
import signal
import subprocess

import pytest

import files
import fleecectl
import guest
import images
import mount
from chain import parse
from deadline import wait_for
from libvirtd import Libvirtd, VirshError
from test_libvirt import SIZE, dirty_ranges, drive, guest_writes, read

VIA = "via=monitor"
CHAIN = "chain=nightly"
K64 = 64 << 10


@pytest.fixture
def domain(tmp, libvirt):
    """Two disks, of which the first has some data."""
    made = libvirt.start("web01", [drive(tmp, "vda"),
                                   drive(tmp, "vdb", "raw")])
    made.write("vda", 0, K64, 0x11)
    return made


def objects(domain):
    """What is in QEMU beside the block layer."""
    return sorted(item["name"] for item in domain.qmp(
        "qom-list", path="/objects"))


def picture(domain):
    """What a mount must put back, and that no pause has surprised libvirt."""
    assert domain.qmp("query-status")["status"] == "running"
    return {**domain.state(), "objects": objects(domain),
            "sockets": sockets(domain.pid)}


def sockets(pid):
    """How many sockets QEMU has: one that was deposited is one more."""
    found = [os.readlink(f"/proc/{pid}/fd/{fd}")
             for fd in os.listdir(f"/proc/{pid}/fd")]
    return len([link for link in found if link.startswith("socket:")])


def check_shown(mnt):
    """The disks as they were when the domain was made."""
    assert read(mnt.join("web01", "vda.raw")) == \
        b"\x11" * K64 + bytes(SIZE - K64)
    assert read(mnt.join("web01", "vdb.raw")) == bytes(SIZE)


def test_full_snapshot(tmp, domain, libvirt, mount_factory):
    """As over a socket of its own: punches free scratch, and libvirt has no
    job.  What libvirt does meanwhile with checkpoints goes well, a backup of
    its own is refused, and both are possible afterwards."""
    before = picture(domain)
    mnt = mount_factory(libvirt.uri, VIA, "discard")
    assert domain.job() == "None"
    assert sorted(os.listdir(mnt.join("web01"))) == [
        "domain.xml", "vda.dirty", "vda.dirty.json", "vda.raw",
        "vdb.dirty", "vdb.dirty.json", "vdb.raw", "vm.json"]
    assert "<name>web01</name>" in read(
        mnt.join("web01", "domain.xml")).decode()
    domain.write("vda", 0, 4 * K64, 0x33)
    domain.write("vdb", 0, 4 * K64, 0x44)
    domain.reads("vda", 0, 4 * K64, 0x33)
    check_shown(mnt)
    status = mnt.vm_status("web01")
    assert status["method"] in ("filter", "job") and status["pause_ms"] > 0
    assert [disk["id"] for disk in status["disks"]] == [
        "virtio-disk0", "virtio-disk1"]
    assert mnt.disk_status("web01", "vda")["scratch_bytes"] >= 4 * K64
    with open(mnt.join("web01", "vda.raw"), "r+b", buffering=0) as file:
        files.punch(file.fileno(), 0, SIZE)
    wait_for(lambda: mnt.disk_status("web01", "vda")["scratch_bytes"] == 0,
             what="the scratch to be freed")
    with open(f"{tmp}/job.xml", "w", encoding="utf-8") as file:
        file.write("<domainbackup mode='pull'><server transport='unix' "
                   f"socket='{tmp}/foreign'/></domainbackup>")
    with pytest.raises(VirshError, match="NBD server already running"):
        domain.virsh("backup-begin", f"{tmp}/job.xml")
    domain.virsh("checkpoint-create-as", "foreign", "--diskspec",
                 "vdb,checkpoint=no")
    domain.virsh("checkpoint-delete", "foreign")
    assert read(mnt.join("web01", "vdb.raw")) == bytes(SIZE)
    mnt.umount()
    assert picture(domain) == before
    domain.virsh("backup-begin", f"{tmp}/job.xml")
    refused = mount_factory(libvirt.uri, VIA, name="refused", check=False)
    assert refused.process.wait(60) == mount.MOUNT_FAILED
    assert "backup job" in refused.stderr()
    domain.virsh("domjobabort")


def test_chain(domain, libvirt, mount_factory, tmp):
    """Full, commit, an increment, over an end of QEMU: the bitmaps are in the
    image, and libvirt knows nothing of them.  Its own checkpoint of a chain of
    the same name is not touched."""
    def night(*words):
        mnt = mount_factory(libvirt.uri, CHAIN, *words)
        seen = (mnt.disk_status("web01", "vda")["reason"],
                dirty_ranges(mnt, "vda"))
        mnt.control("commit web01")
        mnt.umount()
        return seen

    night()
    theirs, = domain.checkpoints()
    assert night(VIA) == ("first", [(0, SIZE)])
    domain.write("vda", 2 * K64, K64, 0x22)
    assert night(VIA) == (None, [(2 * K64, 3 * K64)])
    assert domain.checkpoints() == [theirs]
    domain.virsh("destroy", "--graceful")
    domain.start()
    domain.write("vda", 5 * K64, K64, 0x22)
    assert night(VIA, "view=all") == (None, [(5 * K64, 6 * K64)])
    assert night() == (None, [(2 * K64, 3 * K64), (5 * K64, 6 * K64)])
    rows = json.loads(fleecectl.good(tmp, "checkpoints", libvirt.uri,
                                     "--via=monitor", "--json"))
    assert [(row["disk"], row["chain"], row["state"]) for row in rows] == [
        ("virtio-disk0", "nightly", "committed"),
        ("virtio-disk1", "nightly", "committed")]
    assert parse(rows[0]["bitmap"]).chain == "nightly"
    fleecectl.good(tmp, "checkpoints", libvirt.uri, "--via=monitor",
                   "--delete", "nightly")
    newest, = domain.checkpoints()
    assert [name for _, name in domain.state()["bitmaps"]] == [newest]


def test_full_scratch_stops_no_guest(tmp, libvirt, tmpfs, mount_factory):
    """The snapshot breaks, and the guest is never paused."""
    ring = guest.Ring(slots=1024, sectors=32)
    one = drive(tmp, "vda", size=64 * images.MiB)
    guest.install_qcow2(one.image, ring)
    images.run("qemu-io", "-c", f"write -P 1 {ring.offset} {ring.length}",
               one.image)
    domain = libvirt.start("web01", [one], paused=True)
    mnt = mount_factory(libvirt.uri, VIA, f"scratch={tmpfs('1m')}",
                        "scratch_reserve=0")
    domain.virsh("resume")
    count = guest_writes(domain)
    wait_for(lambda: guest_writes(domain) > count + 40,
             what="the guest to fill the scratch, and to go on")
    assert files.error_of(read, mnt.join("web01", "vda.raw")) == "ESTALE"
    assert mnt.vm_status("web01")["state"] == "broken"
    log = f"{libvirt.directory}/var/log/libvirt/qemu/web01.log"
    assert domain.domstate() == "running (unpaused)"
    with open(log, encoding="utf-8", errors="replace") as file:
        assert "custom-monitor" in file.read()
    mnt.umount()


def test_taint(tmp, libvirt, mount_factory):
    """Only via=monitor taints."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    mount_factory(libvirt.uri).umount()
    mount_factory(libvirt.uri, "snapshot=mkdir", VIA, name="idle").umount()
    assert domain.taints() == []
    mount_factory(libvirt.uri, VIA, name="direct").umount()
    assert any("custom monitor" in line for line in domain.taints())


@pytest.mark.parametrize("both", [False, True])
def test_killed(domain, libvirt, mount_factory, tmp, both):
    """The guardian undoes all of it through libvirt; where it was killed, too,
    fleecectl does, and the guest that it finds stopped by us goes on."""
    before = picture(domain)
    mnt = mount_factory(libvirt.uri, VIA, CHAIN)
    assert picture(domain) != before
    if both:
        other = mount_factory(libvirt.uri, name="other", check=False)
        assert other.process.wait(60) == mount.MOUNT_FAILED
        assert "recover --via=monitor" in other.stderr()
        assert f"pid {mnt.pid}" in fleecectl.refused(
            tmp, "recover", libvirt.uri, "--via=monitor")
    mnt.kill(guardian=both)
    if both:
        wait_for(lambda: not mnt.processes(), what="all to be dead")
        subprocess.run(["umount", "-l", mnt.path], check=True)
        renote(domain, "stopped")
        domain.virsh("suspend")
        done = fleecectl.run(tmp, "recover", libvirt.uri, "--via=monitor")
        assert done.returncode == 0, done.stderr
    wait_for(lambda: picture(domain) == before, what="all to be undone")
    wait_for(lambda: not mnt.processes(), what="the guardian's end")
    assert not mnt.mounted()


def renote(domain, state):
    """Let the note of a dead owner say that it has died in this state."""
    note = {"path": "/objects/fleecefs-owner", "property": "identity"}
    said = domain.qmp("qom-get", **note)
    assert "state=live" in said
    domain.qmp("qom-set", **note, value=said.replace("=live", f"={state}"))


def test_leases_are_kept(tmp, qemu, libvirt_cache, fleecefs):
    """A lock manager gives them up where the guest stops, and only libvirt
    itself has it take them again."""
    with Libvirtd(tmp, libvirt_cache, locks=True) as libvirt:
        drives = [drive(tmp, "vda"), drive(tmp, "vdb")]
        domain = libvirt.start("web01", drives)
        manager, = libvirt.lock_managers()
        images_of = {str(os.stat(one.image).st_ino) for one in drives}
        assert leases(manager) >= images_of
        with mount.Mount(tmp, libvirt.uri, VIA) as mnt:
            assert mnt.vm_status("web01")["pause_ms"] > 0
            assert leases(manager) >= images_of
            mnt.umount()
        assert domain.domstate() == "running (unpaused)"
        domain.virsh("suspend")
        assert not leases(manager) & images_of


def leases(pid):
    """The inodes of what the process has locked."""
    with open("/proc/locks", encoding="ascii") as file:
        words = [line.split() for line in file]
    return {line[5].split(":")[2] for line in words if line[4] == str(pid)}


def test_hangs(domain, libvirt, mount_factory):
    """Errors in time.  What was not answered comes to its end when QEMU is
    back, and what is still to be undone is undone after it."""
    before = picture(domain)
    mnt = mount_factory(libvirt.uri, VIA, "timeout=3", "read_timeout=2")
    with hanging(domain.pid):
        assert files.error_of(read, mnt.join("web01", "vda.raw")) == "EIO"
        assert files.error_of(os.rmdir, mnt.join("web01")) == "ETIMEDOUT"
    os.mkdir(mnt.join("web01"))
    check_shown(mnt)
    mnt.umount()
    assert picture(domain) == before


@contextlib.contextmanager
def hanging(pid):
    """The process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_libvirtd_is_restarted(domain, libvirt, mount_factory):
    """Readers do not notice; the guardian waits for it."""
    before = picture(domain)
    mnt = mount_factory(libvirt.uri, VIA, CHAIN)
    libvirt.stop_daemon(signal.SIGKILL)
    domain_pid = mnt.pid
    check_shown(mnt)
    mnt.kill(guardian=False)
    wait_for(lambda: domain_pid not in mnt.processes(), what="its end")
    assert mnt.processes()
    libvirt.start_daemon()
    wait_for(lambda: picture(domain) == before, what="all to be undone")
    wait_for(lambda: not mnt.processes(), what="the guardian's end")


def test_comes_and_goes(domain, libvirt, mount_factory):
    """A domain that ends is noticed; it is read from its images as any other,
    and when it runs again, from its QEMU."""
    mnt = mount_factory(libvirt.uri, VIA, "snapshot=mkdir")
    os.mkdir(mnt.join("web01"))
    domain.virsh("destroy")
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone",
             what="the end to be seen")
    assert files.error_of(read, mnt.join("web01", "vda.raw")) == "EIO"
    os.rmdir(mnt.join("web01"))
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["method"] == "image"
    check_shown(mnt)
    os.rmdir(mnt.join("web01"))
    domain.start()
    before = picture(domain)
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["method"] in ("filter", "job")
    check_shown(mnt)
    mnt.umount()
    assert picture(domain) == before
