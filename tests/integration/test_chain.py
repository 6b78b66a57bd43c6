# SPDX-License-Identifier: GPL-2.0-or-later
"""Chains: commit, release and what keeps a bad copy from being committed."""

import json
import os
import subprocess

import pytest

import files
import images
import scene
from deadline import wait_for
from files import error_of
from nights import Nights

KiB, MiB = images.KiB, images.MiB
CLUSTER = 64 * KiB
TWO = (("va", "qcow2", 8 * MiB), ("vb", "raw", 5 * MiB + 7 * 512))
ALL_NEW = {"va": "first", "vb": "first"}
ALL_INCREMENTAL = {"va": None, "vb": None}
METHODS = ("filter", "job")


@pytest.fixture(params=METHODS)
def nights(request, tmp, vm_factory, mount_factory):
    two = scene.build(tmp, vm_factory, TWO)
    chain = Nights(tmp, two, mount_factory, f"method={request.param}")
    yield chain
    chain.mnt.umount()


def test_increments(nights):
    """Full, then what has changed, then nothing."""
    assert nights.backup()[0] == ALL_NEW
    nights.scene.vm.write("va", 3 * CLUSTER + 512, 512, 0x11)
    nights.scene.vm.write("vb", 5 * MiB, 7 * 512, 0x12)
    facts = nights.snapshot()
    assert nights.modes() == ALL_INCREMENTAL
    assert nights.dirty("va") == [(3 * CLUSTER, CLUSTER)]
    assert nights.dirty("vb") == [(5 * MiB, 7 * 512)]
    assert [disk["dirty"] for disk in facts["disks"]] == [CLUSTER, 7 * 512]
    assert nights.update() == 0
    nights.assert_copied()
    nights.commit()
    nights.release()
    nights.snapshot()
    assert nights.dirty("va") == nights.dirty("vb") == []
    assert nights.update() == 0
    nights.assert_copied()
    nights.release()


def test_xattrs(nights):
    nights.backup()
    first = nights.snapshot()
    base = first["disks"][0]["base"]
    path = nights.scene.file(nights.mnt, "va")

    def value(name):
        return os.getxattr(path, f"user.fleecefs.{name}").decode()

    assert value("mode") == "incremental" and value("chain") == "nightly"
    assert value("base") == base and value("dirty_bytes") == "0"
    assert error_of(value, "reason") == "ENODATA"
    assert "user.fleecefs.reason" not in os.listxattr(path)
    nights.release()


def test_release_keeps_the_base(nights):
    """What was not committed is in the next increment as well."""
    nights.backup()
    before = nights.checkpoints("va")
    nights.scene.vm.write("va", 0, 512, 0x21)
    nights.snapshot()
    assert nights.checkpoints("va")[1:] == [
        f"{name}" for name in nights.checkpoints("va")
        if name.endswith(".pending")]
    nights.release()
    assert nights.checkpoints("va") == before
    nights.scene.vm.write("va", CLUSTER, 512, 0x22)
    nights.snapshot()
    assert nights.dirty("va") == [(0, 2 * CLUSTER)]
    nights.release()


def test_commit_is_idempotent_and_outlives_the_release(nights):
    nights.snapshot()
    nights.commit()
    after = nights.checkpoints("va")
    assert len(after) == 1 and not after[0].endswith(".pending")
    nights.commit()
    assert nights.mnt.vm_status("web01")["committed"] is True
    nights.release()
    assert nights.checkpoints("va") == after


def test_commit_while_a_file_is_open(nights):
    nights.snapshot()
    with open(nights.scene.file(nights.mnt, "va"), "rb"):
        assert error_of(nights.commit) == "EBUSY"
        assert "open" in nights.mnt.vm_status("web01")["error"]
        assert nights.mnt.vm_status("web01")["committed"] is False
        nights.commit(force=True)
    nights.release()


def test_commit_of_nothing(nights):
    assert error_of(nights.commit) == "ENOENT"
    assert error_of(nights.mnt.control, "commit web02") == "ENOENT"
    assert error_of(nights.mnt.control, "commit web01 --what") == "EINVAL"
    assert error_of(nights.mnt.control, "commit") == "EINVAL"


def test_commit_without_a_chain(tmp, vm_factory, mount_factory):
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path)
    assert error_of(mnt.control, "commit web01") == "EINVAL"
    assert "no chain" in mnt.vm_status("web01")["error"]
    mnt.umount()
    one.assert_as_before()


def test_keep(tmp, vm_factory, mount_factory):
    """keep=2 leaves two to start from, and since= finds the older one."""
    two = scene.build(tmp, vm_factory, TWO)
    nights = Nights(tmp, two, mount_factory, "keep=2")
    instants = []
    for night in range(4):
        two.vm.write("va", night * CLUSTER, 512, 0x31 + night)
        instants.append(nights.backup()[1])
        assert len(nights.checkpoints("va")) == min(night + 1, 2)
    two.vm.write("va", 4 * CLUSTER, 512, 0x35)
    nights.mnt.umount()
    older = Nights(tmp, two, mount_factory, f"since={instants[2]}",
                   name="older")
    older.snapshot()
    assert older.modes() == ALL_INCREMENTAL
    assert older.dirty("va") == [(3 * CLUSTER, 2 * CLUSTER)]
    older.release()
    older.mnt.umount()


def test_two_chains(tmp, vm_factory, mount_factory):
    """They take turns and never touch each other's checkpoints."""
    two = scene.build(tmp, vm_factory, TWO)
    one = Nights(tmp, two, mount_factory, chain="A", name="a")
    other = Nights(tmp, two, mount_factory, chain="b_-2", name="b")
    one.backup()
    two.vm.write("va", 0, 512, 0x41)
    assert other.backup()[0] == ALL_NEW
    mine = one.checkpoints("va")
    two.vm.write("va", CLUSTER, 512, 0x42)
    other.snapshot()
    assert other.dirty("va") == [(CLUSTER, CLUSTER)]
    other.commit()
    other.release()
    assert one.checkpoints("va") == mine
    one.snapshot()
    assert one.dirty("va") == [(0, 2 * CLUSTER)]
    one.release()
    one.mnt.umount()
    other.mnt.umount()


@pytest.mark.parametrize("how", ("daemon", "both"))
def test_killed(tmp, vm_factory, mount_factory, how):
    """What was pending is dropped, at once or at the next snapshot."""
    two = scene.build(tmp, vm_factory, TWO)
    nights = Nights(tmp, two, mount_factory)
    nights.backup()
    before = nights.checkpoints("va")
    two.vm.write("va", 0, 512, 0x51)
    nights.snapshot()
    assert len(nights.checkpoints("va")) == 2
    nights.mnt.kill(guardian=how == "both")
    wait_for(lambda: not nights.mnt.processes(), what="the end of all")
    if how == "daemon":
        assert nights.checkpoints("va") == before
    else:
        subprocess.run(["umount", "-l", nights.mnt.path], check=True)
    again = Nights(tmp, two, mount_factory, name="again")
    again.snapshot()
    assert again.modes() == ALL_INCREMENTAL
    assert again.dirty("va") == [(0, CLUSTER)]
    assert len(again.checkpoints("va")) == 2
    again.release()
    assert again.checkpoints("va") == before
    again.mnt.umount()


@pytest.fixture
def small_scratch(tmpfs):
    """A filesystem that is soon full."""
    return tmpfs("1m")


def test_broken_night_cannot_be_committed(tmp, vm_factory, mount_factory,
                                          small_scratch):
    """Scratch is full, so the snapshot breaks: no recipe commits it."""
    two = scene.build(tmp, vm_factory, TWO)
    good = Nights(tmp, two, mount_factory)
    good.backup()
    good.mnt.umount()
    before = good.checkpoints("va")
    two.overwrite_all("va", 0x61)
    bad = Nights(tmp, two, mount_factory, f"scratch={small_scratch}",
                 "scratch_limit=1G", "scratch_reserve=0", name="bad")
    bad.snapshot()
    two.overwrite_all("va", 0x62)
    assert bad.update() != 0
    assert error_of(bad.commit) == "ESTALE"
    assert error_of(bad.commit, force=True) == "ESTALE"
    assert bad.mnt.vm_status("web01")["committed"] is False
    bad.release()
    assert bad.checkpoints("va") == before
    bad.mnt.umount()
    assert two.vm.run_state() == "running"


def test_commit_sees_a_break_that_nobody_has_read(tmp, vm_factory,
                                                  mount_factory,
                                                  small_scratch):
    """QEMU does not say when it gives up a snapshot: commit has to ask."""
    two = scene.build(tmp, vm_factory, TWO)
    bad = Nights(tmp, two, mount_factory, f"scratch={small_scratch}",
                 "scratch_limit=1G", "scratch_reserve=0")
    bad.snapshot()
    two.overwrite_all("va", 0x63)
    assert bad.mnt.vm_status("web01")["state"] == "live"
    assert error_of(bad.commit) == "ESTALE"
    assert bad.mnt.vm_status("web01")["state"] == "broken"
    bad.release()
    bad.mnt.umount()


def test_gone_night_cannot_be_committed(tmp, vm_factory, mount_factory):
    """QEMU has died: every read is EIO, and so is the commit."""
    two = scene.build(tmp, vm_factory, TWO)
    nights = Nights(tmp, two, mount_factory)
    nights.snapshot()
    two.vm.kill()
    wait_for(lambda: nights.mnt.vm_status("web01")["state"] == "gone",
             what="the loss to be seen")
    assert nights.update() != 0
    assert error_of(nights.commit) == "EIO"
    assert error_of(nights.commit, force=True) == "EIO"
    nights.release()
    nights.mnt.umount()


def test_delta(tmp, vm_factory, mount_factory):
    """Only what changed is there, also as holes; clean areas cost nothing."""
    two = scene.build(tmp, vm_factory, TWO)
    Nights(tmp, two, mount_factory).backup()
    two.vm.write("va", CLUSTER, CLUSTER, 0x71)
    two.vm.qemu_io("va", f"write -z {4 * CLUSTER} {CLUSTER}")
    mnt = mount_factory(two.vm.qmp_path, "chain=nightly", "view=delta",
                        "method=filter", name="delta")
    names = sorted(os.listdir(mnt.join("web01")))
    assert names == ["va.delta", "va.dirty", "va.dirty.json", "vb.delta",
                     "vb.dirty", "vb.dirty.json", "vm.json"]
    path = mnt.join("web01", "va.delta")
    two.overwrite_all("va", 0x72)
    assert mnt.disk_status("web01", "va")["scratch_bytes"] <= 4 * CLUSTER
    assert files.data_map(path) == [(CLUSTER, 2 * CLUSTER),
                                    (4 * CLUSTER, 5 * CLUSTER)]
    assert os.stat(path).st_size == 8 * MiB
    assert os.stat(path).st_blocks * 512 == 2 * CLUSTER
    with open(path, "rb") as file:
        shown = file.read()
    expected = bytearray(8 * MiB)
    expected[CLUSTER:2 * CLUSTER] = b"\x71" * CLUSTER
    assert shown == bytes(expected)
    assert files.data_map(mnt.join("web01", "vb.delta")) == []
    mnt.umount()


def test_view_all(tmp, vm_factory, mount_factory):
    """Both files are whole: nothing is limited."""
    two = scene.build(tmp, vm_factory, TWO)
    Nights(tmp, two, mount_factory).backup()
    mnt = mount_factory(two.vm.qmp_path, "chain=nightly", "view=all",
                        name="all")
    two.vm.write("va", 0, 4 * MiB, 0x73)
    two.assert_shown(mnt)
    assert not any(open(mnt.join("web01", "va.delta"), "rb").read())
    mnt.umount()


def test_delta_of_a_job_is_not_limited(tmp, vm_factory, mount_factory):
    two = scene.build(tmp, vm_factory, TWO)
    Nights(tmp, two, mount_factory).backup()
    two.vm.write("va", 0, 512, 0x74)
    for method, limited in (("filter", True), ("job", False)):
        mnt = mount_factory(two.vm.qmp_path, "chain=nightly", "view=delta",
                            f"method={method}", name=method)
        with open(mnt.join("web01", "vm.json"), encoding="utf-8") as file:
            facts = json.load(file)
        assert [disk["limited"] for disk in facts["disks"]] == [limited] * 2
        with open(mnt.join("web01", "va.delta"), "rb") as file:
            assert file.read(512) == b"\x74" * 512
        mnt.umount()


@pytest.mark.parametrize("words, said", (
    (("chain=a/b",), "chain"), (("chain=",), "chain"),
    (("chain=a", "since=yesterday"), "since"),
    (("since=20261120T234501123Z",), "chain"), (("keep=2",), "chain"),
    (("chain=a", "keep=0"), "keep"), (("view=delta",), "chain"),
    (("chain=a", "view=both"), "view"),
    (("chain=a", "fallback=full"), "since"),
    (("chain=a", "since=20261120T234501123Z", "fallback=none"), "fallback"),
    (("chain=a", "ro"), "ro")))
def test_bad_options(tmp, vm_factory, mount_factory, words, said):
    one = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(one.vm.qmp_path, *words, check=False)
    assert mnt.returncode == 1, mnt.report()
    assert said in mnt.stderr()
    assert len(mnt.stderr().strip().splitlines()) == 1, mnt.stderr()
    one.assert_as_before()
