# SPDX-License-Identifier: GPL-2.0-or-later
"""Incremental chains whose checkpoints are libvirt's."""

import json
import os
import signal
import subprocess

import pytest

import fleecectl
import mount
from chain import parse
from deadline import wait_for
from test_libvirt import SIZE, dirty_ranges, drive

CHAIN = "chain=nightly"
K64 = 64 << 10


def reason(mnt, disk):
    """Why the disk is full; None: it is not."""
    return mnt.disk_status("web01", disk)["reason"]


def night(mount_factory, libvirt, *words, commit=True, change=None):
    """One mount, committed or not: (reasons, dirty ranges) by disk.

    change(mnt) is called while it stands.
    """
    mnt = mount_factory(libvirt.uri, CHAIN, *words)
    disks = [disk["name"] for disk in mnt.vm_status("web01")["disks"]]
    seen = ({disk: reason(mnt, disk) for disk in disks},
            {disk: dirty_ranges(mnt, disk) for disk in disks})
    if change:
        change(mnt)
    if commit:
        mnt.control("commit web01")
        assert mnt.vm_status("web01")["committed"]
    mnt.umount()
    return seen


def test_nights(tmp, libvirt, mount_factory):
    """Full, commit, increments, an uncommitted night between; libvirt has
    one checkpoint afterwards, and QEMU nothing else."""
    domain = libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb")])
    domain.write("vda", 0, K64, 0x11)
    before = domain.state()
    full, dirty = night(mount_factory, libvirt)
    assert full == {"vda": "first", "vdb": "first"}
    assert dirty == {"vda": [(0, SIZE)], "vdb": [(0, SIZE)]}
    first, = domain.checkpoints()
    assert parse(first).chain == "nightly" and not parse(first).pending
    domain.write("vda", 2 * K64, K64, 0x22)
    lost = night(mount_factory, libvirt, commit=False,
                 change=lambda mnt: domain.write("vda", 4 * K64, K64, 0x33))
    assert lost == ({"vda": None, "vdb": None},
                    {"vda": [(2 * K64, 3 * K64)], "vdb": []})
    assert domain.checkpoints() == [first]
    domain.write("vdb", 0, 512, 0x44)
    again = night(mount_factory, libvirt)
    assert again[1] == {
        "vda": [(2 * K64, 3 * K64), (4 * K64, 5 * K64)], "vdb": [(0, K64)]}
    second, = domain.checkpoints()
    assert second > first
    assert night(mount_factory, libvirt)[1] == {"vda": [], "vdb": []}
    after = domain.state()
    for key in ("state", "job", "note", "nodes", "exports", "jobs",
                "block-jobs"):
        assert after[key] == before[key], key
    assert {name for _, name in after["bitmaps"]} == set(
        domain.checkpoints())


def test_written_while_it_stands(tmp, libvirt, mount_factory):
    """What the guest writes after the instant is in the next increment."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    night(mount_factory, libvirt,
          change=lambda mnt: domain.write("vda", 0, K64, 0x11))
    assert night(mount_factory, libvirt)[1]["vda"] == [(0, K64)]


def test_disks_of_every_kind(tmp, libvirt, mount_factory):
    """A hot-plugged disk is full once, a raw one always; the others are
    incremental."""
    domain = libvirt.start("web01", [drive(tmp, "vda"),
                                     drive(tmp, "vdr", "raw")])
    assert night(mount_factory, libvirt)[0] == {
        "vda": "first", "vdr": "no-bitmap"}
    late = drive(tmp, "vdc")
    domain.virsh("attach-disk", late.image, "vdc", "--driver", "qemu",
                 "--subdriver", "qcow2", "--live")
    domain.write("vdc", 0, K64, 0x11)
    assert night(mount_factory, libvirt)[0] == {
        "vda": None, "vdr": "no-bitmap", "vdc": "new-disk"}
    seen = night(mount_factory, libvirt)
    assert seen[0] == {"vda": None, "vdr": "no-bitmap", "vdc": None}
    assert seen[1]["vdc"] == []


def test_hot_plugged_while_it_stands(tmp, libvirt, mount_factory):
    """Such a disk is not in the snapshot, and full in the next."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    late = drive(tmp, "vdc")
    night(mount_factory, libvirt, change=lambda mnt: domain.virsh(
        "attach-disk", late.image, "vdc", "--driver", "qemu",
        "--subdriver", "qcow2", "--live"))
    assert night(mount_factory, libvirt)[0] == {
        "vda": None, "vdc": "new-disk"}


def test_broken_bitmap(tmp, libvirt, mount_factory):
    """QEMU was killed: its bitmaps are of no use, and libvirt says so."""
    domain = libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb")])
    night(mount_factory, libvirt)
    domain.virsh("destroy", "--graceful")
    domain.start()
    assert night(mount_factory, libvirt)[0] == {"vda": None, "vdb": None}
    os.kill(domain.pid, signal.SIGKILL)
    wait_for(lambda: domain.domstate().startswith("shut off"),
             what="libvirt to see the end")
    domain.start()
    assert night(mount_factory, libvirt)[0] == {
        "vda": "inconsistent", "vdb": "inconsistent"}
    assert len(domain.checkpoints()) == 1
    assert night(mount_factory, libvirt)[0] == {"vda": None, "vdb": None}


def test_one_bitmap_is_lost(tmp, libvirt, mount_factory):
    """Somebody deleted it behind libvirt's back: this disk is full, the
    other one is not."""
    domain = libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb")])
    night(mount_factory, libvirt)
    name, = domain.checkpoints()
    node, = [node for node, bitmap in domain.state()["bitmaps"]
             if bitmap == name and node == "libvirt-1-format"]
    domain.qmp("block-dirty-bitmap-remove", node=node, name=name)
    full = night(mount_factory, libvirt)[0]
    assert sorted(map(str, full.values())) == ["None", "inconsistent"], full
    assert night(mount_factory, libvirt)[0] == {"vda": None, "vdb": None}


def test_resized(tmp, libvirt, mount_factory):
    """libvirt would call what is new clean."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    night(mount_factory, libvirt)
    domain.virsh("blockresize", "vda", f"{2 * SIZE}B")
    assert night(mount_factory, libvirt)[0] == {"vda": "resized"}
    assert night(mount_factory, libvirt)[0] == {"vda": None}


def test_since_and_keep(tmp, libvirt, mount_factory):
    """Older checkpoints that are kept can be started from."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    instants = []
    note = lambda mnt: instants.append(mnt.vm_status("web01")["instant"])
    for number in range(3):
        domain.write("vda", number * K64, K64, 0x11)
        night(mount_factory, libvirt, "keep=2", change=note)
    assert len(domain.checkpoints()) == 2
    seen = night(mount_factory, libvirt, f"since={instants[1]}",
                 commit=False)
    assert seen[1]["vda"] == [(2 * K64, 3 * K64)]
    mnt = mount_factory(libvirt.uri, CHAIN, f"since={instants[0]}",
                        check=False)
    assert mnt.process.wait(60) == mount.MOUNT_FAILED
    assert instants[2] in mnt.stderr()
    assert night(mount_factory, libvirt, f"since={instants[0]}",
                 "fallback=full")[0]["vda"] == "since-missing"


def test_foreign_checkpoints_stay(tmp, libvirt, mount_factory):
    """What is not ours is never touched."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    with open(f"{tmp}/foreign.xml", "w", encoding="utf-8") as file:
        file.write("<domaincheckpoint><name>foreign</name>"
                   "</domaincheckpoint>")
    domain.virsh("checkpoint-create", f"{tmp}/foreign.xml")
    for _ in range(2):
        night(mount_factory, libvirt)
    assert "foreign" in domain.checkpoints()
    assert len(domain.checkpoints()) == 2


@pytest.mark.parametrize("guardian", [False, True])
def test_killed_after_the_commit(tmp, libvirt, mount_factory, guardian):
    """What was committed is committed, whoever dies next."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, CHAIN)
    mnt.control("commit web01")
    mnt.kill(guardian)
    wait_for(lambda: not mnt.processes(), what="all to end")
    subprocess.run(["umount", "-l", mnt.path], check=False,
                   stderr=subprocess.DEVNULL)
    assert len(domain.checkpoints()) == 1
    domain.write("vda", 0, K64, 0x11)
    assert night(mount_factory, libvirt)[1]["vda"] == [(0, K64)]


def test_fleecectl(tmp, libvirt, mount_factory):
    """checkpoints lists and deletes them; recover cleans up."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    before = domain.state()
    night(mount_factory, libvirt)
    mnt = mount_factory(libvirt.uri, CHAIN)
    rows = json.loads(fleecectl.good(tmp, "checkpoints", libvirt.uri,
                                     "--json"))
    assert [(row["disk"], row["chain"], row["state"]) for row in rows] == [
        ("vda", "nightly", "committed"), ("vda", "nightly", "pending")]
    assert [row["bitmap"] for row in rows] == domain.checkpoints()
    assert f"pid {mnt.pid}" in fleecectl.refused(tmp, "recover",
                                                 libvirt.uri)
    assert domain.job() == "Unbounded"
    mnt.kill()
    wait_for(lambda: not mnt.processes(), what="all to be dead")
    done = fleecectl.run(tmp, "recover", libvirt.uri)
    assert done.returncode == 0, done.stderr
    assert domain.job() == "None" and len(domain.checkpoints()) == 1
    fleecectl.good(tmp, "checkpoints", libvirt.uri, "--delete", "nightly")
    assert domain.state() == before
