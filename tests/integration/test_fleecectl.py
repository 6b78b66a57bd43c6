# SPDX-License-Identifier: GPL-2.0-or-later
"""The control tool on real mounts, and what it says when it cannot."""

import json
import os
import re

import pytest

import fleecectl
import images
import scene
from deadline import wait_for
from files import error_of, punch, read_at


@pytest.fixture
def mounted(tmp, vm_factory, mount_factory):
    """A VM of two disks under snapshot=mkdir, without a snapshot."""
    one = scene.build(tmp, vm_factory, (("va", "raw", images.SIZE),
                                        ("vb", "raw", scene.ODD_SIZE)))
    mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir", "discard")
    yield one, mnt
    if mnt.mounted():
        mnt.umount()
    one.assert_as_before()


def rows(text):
    """The words of each line of the table; a size is two of them."""
    return [line.split() for line in text.splitlines()]


def row(text, name):
    """The words behind the name that begins a line."""
    found = [words[1:] for words in rows(text) if words[0] == name]
    assert len(found) == 1, text
    return found[0]


def test_snapshot_and_release(tmp, mounted):
    one, mnt = mounted
    assert fleecectl.good(tmp, "snapshot", mnt.path, "web01") == ""
    assert os.listdir(mnt.path) == ["web01"]
    one.overwrite_all("va")
    one.assert_shown(mnt)
    assert fleecectl.good(tmp, "release", mnt.path, "web01") == ""
    assert os.listdir(mnt.path) == []
    one.assert_as_before()


def test_table(tmp, mounted):
    """A line for the VM and one for each disk, which follow what is done."""
    one, mnt = mounted
    assert row(fleecectl.good(tmp, "status", mnt.path), "web01") == [
        "available", "-", "-", "-", "-"]
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    said = fleecectl.good(tmp, "status", mnt.path)
    assert [words[0] for words in rows(said)] == [
        "VM", "DISK", "web01", "va", "vb"]
    state, instant, age, method, pause, unit = row(said, "web01")
    assert (state, method, unit) == ("live", "filter", "ms")
    assert instant == mnt.vm_status("web01")["instant"]
    assert re.fullmatch(r"\d+s", age) and float(pause) > 0
    assert " ".join(row(said, "va")) == \
        f"full no-chain {images.SIZE >> 20} MiB {images.SIZE >> 20} MiB " \
        "0 B 0 B 0 B"
    with open(one.file(mnt, "va"), "r+b", buffering=0) as file:
        file.read(images.MiB)
        punch(file.fileno(), 0, 512 << 10)
    one.vm.write("vb", 0, 2 * images.MiB, 0x77)
    said = fleecectl.good(tmp, "status", mnt.path, "web01")
    assert " ".join(row(said, "va")).endswith(" 1.0 MiB 512 KiB 0 B")
    assert " ".join(row(said, "vb")).endswith(" 0 B 0 B 2.0 MiB")


def test_table_is_aligned(tmp, mounted):
    """Each title stands over its column, and no line ends with spaces."""
    _, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    lines = fleecectl.good(tmp, "status", mnt.path).splitlines()
    for title, line in ((lines[0], lines[2]), (lines[1], lines[3])):
        assert len(title) == len(line)
        for at in (title.index(title.split()[1]), len(title) - 1):
            assert line[at] != " " and (at + 1 == len(line) or
                                        line[at - 1] == " ")
    assert all(line == line.rstrip() for line in lines)


def test_json(tmp, mounted):
    """The mount's own words, of all or of one."""
    _, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    whole = json.loads(fleecectl.good(tmp, "status", "--json", mnt.path))
    part = json.loads(fleecectl.good(tmp, "status", mnt.path, "web01",
                                     "--json"))
    now = mnt.status()
    assert whole["vms"][0]["age_s"] <= part["age_s"]
    for vm in (whole["vms"][0], part, now["vms"][0]):
        del vm["age_s"]
    assert whole == now
    assert part == now["vms"][0]


def test_only_one_vm(tmp, vm_factory, mount_factory):
    for name in ("web01", "web02"):
        scene.build(tmp, vm_factory, name=name)
    mnt = mount_factory(tmp, "snapshot=mkdir")
    all_of_them = fleecectl.good(tmp, "status", mnt.path)
    assert [words[0] for words in rows(all_of_them)][2:] == ["web01", "web02"]
    one = fleecectl.good(tmp, "status", mnt.path, "web02")
    assert [words[0] for words in rows(one)][2:] == ["web02"]
    mnt.umount()


def test_release_with_a_reader(tmp, mounted):
    """EBUSY says so; by force the reader gets ESTALE."""
    one, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    with open(one.file(mnt, "va"), "rb", buffering=0) as file:
        line = fleecectl.refused(tmp, "release", mnt.path, "web01")
        assert line.startswith("fleecectl: release web01: a file of its "
                               "snapshot is open")
        assert file.read(512) == read_at(one.expected["va"], 0, 512)
        fleecectl.good(tmp, "release", "--force", mnt.path, "web01")
        assert error_of(os.pread, file.fileno(), 512, 0) == "ESTALE"
    one.assert_as_before()


def test_what_stands_in_the_way(tmp, mounted):
    """Each refusal is told in words of its own."""
    _, mnt = mounted
    said = fleecectl.refused(tmp, "release", mnt.path, "web01")
    assert said == "fleecectl: release web01: it has no snapshot"
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    said = fleecectl.refused(tmp, "snapshot", mnt.path, "web01")
    assert said == "fleecectl: snapshot web01: it has a snapshot"


@pytest.mark.parametrize("verb", ("snapshot", "release", "status"))
@pytest.mark.parametrize("name", ("web09", "web 01", "it's", "", ".fleecefs",
                                  "web01 --force", "\x1b[2J"))
def test_unknown_vm(tmp, mounted, verb, name):
    _, mnt = mounted
    said = fleecectl.refused(tmp, verb, mnt.path, name)
    shown = name.replace("\x1b", "?")
    assert said == f"fleecectl: {verb} {shown}: there is no such VM"


def test_strange_name(tmp, vm_factory, mount_factory):
    """A VM's name reaches the daemon as one word, whatever is in it."""
    one = scene.build(tmp, vm_factory)
    name = "a b'c\"--force"
    mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir", f"name={name}")
    fleecectl.good(tmp, "snapshot", mnt.path, name)
    assert mnt.vm_status(name)["state"] == "live"
    assert name in fleecectl.good(tmp, "status", mnt.path)
    fleecectl.good(tmp, "release", mnt.path, name)
    one.assert_as_before()
    mnt.umount()


def test_the_reason_is_the_daemons(tmp, mounted):
    """What QEMU said, each time, and not where another command failed."""
    one, mnt = mounted
    one.vm.execute("nbd-server-start", {"addr": {
        "type": "unix", "data": {"path": f"{tmp}/nbd.sock"}}})
    for _ in range(2):
        said = fleecectl.refused(tmp, "snapshot", mnt.path, "web01")
        assert said.startswith("fleecectl: snapshot web01: ")
        assert "NBD server already running" in said
        assert "VM web01" not in said
    table = fleecectl.good(tmp, "status", mnt.path)
    assert row(table, "web01")[0] == "failed"
    assert "NBD server already running" in " ".join(row(table, "error:"))
    said = fleecectl.refused(tmp, "release", mnt.path, "web01")
    assert said == "fleecectl: release web01: it has no snapshot"
    one.vm.execute("nbd-server-stop")
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    assert "error:" not in fleecectl.good(tmp, "status", mnt.path)


def test_a_vm_that_is_gone(tmp, vm_factory, mount_factory):
    """The table says why, and how many reads failed."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    one.vm.kill()
    # till its connection is closed, a hole is read without QEMU
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone")
    assert error_of(read_at, one.file(mnt, "va"), 0, 4096) == "EIO"
    table = fleecectl.good(tmp, "status", mnt.path)
    assert row(table, "web01")[0] == "gone"
    assert row(table, "why:")
    assert re.search(r"failed reads: [1-9]\d* of disk va", table)
    mnt.umount()


def test_umount(tmp, mounted):
    """QEMU is clean when it returns, through a link as well."""
    one, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    one.overwrite_all("va")
    os.symlink("mnt", f"{tmp}/link")
    assert fleecectl.good(tmp, "umount", f"{tmp}/link") == ""
    one.assert_as_before()
    assert not mnt.mounted()
    mnt.wait_gone()


def test_umount_with_a_reader(tmp, mounted):
    """It is busy, and all is as it was."""
    one, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    with open(one.file(mnt, "va"), "rb"):
        said = fleecectl.refused(tmp, "umount", mnt.path)
        assert said == f"fleecectl: {mnt.path}: Device or resource busy"
    one.assert_shown(mnt)


def test_umount_of_a_dead_mount(tmp, mounted):
    """Where the guardian died as well, only the mount is left to go."""
    _, mnt = mounted
    mnt.kill()
    wait_for(lambda: not mnt.processes() and error_of(
        os.listdir, mnt.path) == "ENOTCONN", what="the daemon's end")
    said = fleecectl.refused(tmp, "status", mnt.path)
    assert "Transport endpoint is not connected" in said
    fleecectl.good(tmp, "umount", mnt.path)
    assert not mnt.mounted()


@pytest.mark.parametrize("verb", fleecectl.COMMANDS)
def test_not_a_mount(tmp, mounted, verb):
    """An empty directory, one of a mount, a file, and nothing at all."""
    _, mnt = mounted
    fleecectl.good(tmp, "snapshot", mnt.path, "web01")
    words = [] if verb == "umount" else ["web01"]
    os.mkdir(f"{tmp}/empty")
    for path, why in ((f"{tmp}/empty", "no fleecefs is mounted there"),
                      (mnt.join("web01"), "no fleecefs is mounted there"),
                      (mnt.log_path, "no fleecefs is mounted there"),
                      (f"{tmp}/none", "No such file or directory"),
                      (f"{mnt.log_path}/x", "Not a directory")):
        said = fleecectl.refused(tmp, verb, path, *words)
        assert said == f"fleecectl: {path}: {why}"


def test_read_only_mount(tmp, vm_factory, mount_factory):
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "ro")
    assert row(fleecectl.good(tmp, "status", mnt.path), "web01")[0] == "live"
    said = fleecectl.refused(tmp, "release", mnt.path, "web01")
    assert said.endswith(".fleecefs/control: Read-only file system")
    fleecectl.good(tmp, "umount", mnt.path)
    one.assert_as_before()


def test_names_that_look_like_options(tmp, mounted):
    _, mnt = mounted
    said = fleecectl.refused(tmp, "snapshot", "--", mnt.path, "--force")
    assert said == "fleecectl: snapshot --force: there is no such VM"


def test_full_disk(tmp, mounted):
    """Output that is lost is a failure."""
    _, mnt = mounted
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = fleecectl.run(tmp, "status", mnt.path, stdout=full)
    assert done.returncode == fleecectl.FAILED
    assert "No space left on device" in done.stderr
