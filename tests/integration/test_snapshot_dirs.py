# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots as directories: mkdir, rmdir, the control file, and pauses."""

import concurrent.futures
import contextlib
import glob
import mmap
import os
import signal
import subprocess

import pytest

import guest
import images
import scene
from deadline import wait_for
from files import error_of, read_at
from qmpproxy import Fault, QmpProxy


@pytest.fixture
def mounted(tmp, vm_factory, mount_factory):
    """A VM under snapshot=mkdir, without a snapshot."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir")
    yield one, mnt
    mnt.umount()
    one.assert_as_before()


def expect_live(tmp, one, disk_id, pattern):
    """From now on a new snapshot must show the disk full of a pattern."""
    one.overwrite_all(disk_id, pattern)
    path = f"{tmp}/full-of-{pattern}"
    with open(path, "wb") as file:
        file.write(bytes([pattern]) * one.size(disk_id))
    one.expected[disk_id] = path


def test_mkdir_and_rmdir(tmp, mounted):
    """Each mkdir is a new instant; each rmdir leaves nothing in QEMU."""
    one, mnt = mounted
    assert os.listdir(mnt.path) == []
    one.assert_as_before()
    for pattern in (0xa1, 0xa2, 0xa3):
        os.mkdir(mnt.join("web01"))
        assert os.listdir(mnt.path) == ["web01"]
        assert one.vm.state() != one.before
        one.vm.write("va", 0, images.MiB, 0x5a)
        one.assert_shown(mnt)
        os.rmdir(mnt.join("web01"))
        assert os.listdir(mnt.path) == []
        assert error_of(os.stat, mnt.join("web01")) == "ENOENT"
        one.assert_as_before()
        expect_live(tmp, one, "va", pattern)


def test_control_words(mounted):
    one, mnt = mounted
    mnt.control("snapshot web01")
    one.assert_shown(mnt)
    with open(one.file(mnt, "va"), "rb"):
        assert error_of(mnt.control, "release web01") == "EBUSY"
    mnt.control("release web01")
    assert os.listdir(mnt.path) == []
    one.assert_as_before()
    assert error_of(mnt.control, "snapshot web02") == "ENOENT"
    assert error_of(mnt.control, "frobnicate web01") == "EINVAL"


def test_status_lists_what_is_available(mounted):
    _, mnt = mounted
    assert [vm["vm"] for vm in mnt.status()["vms"]] == ["web01"]
    assert mnt.vm_status("web01")["state"] == "available"
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["state"] == "live"
    os.rmdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["state"] == "available"


def test_rmdir_with_a_reader(mounted):
    """EBUSY as long as a data file is open or mapped, and then not."""
    one, mnt = mounted
    os.mkdir(mnt.join("web01"))
    fd = os.open(one.file(mnt, "va"), os.O_RDONLY)
    assert error_of(os.rmdir, mnt.join("web01")) == "EBUSY"
    mapped = mmap.mmap(fd, 65536, prot=mmap.PROT_READ)
    os.close(fd)
    assert error_of(os.rmdir, mnt.join("web01")) == "EBUSY"
    assert mapped[:512] == read_at(one.expected["va"], 0, 512)
    mapped.close()
    one.assert_shown(mnt)
    os.rmdir(mnt.join("web01"))


@pytest.mark.parametrize("option", ("discard", ""))
def test_forced_release_under_a_reader(tmp, vm_factory, mount_factory,
                                       option):
    """An old descriptor is ESTALE; the new snapshot has no old byte.

    Without discard the page cache may still give the old one's old bytes.
    """
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir", option)
    os.mkdir(mnt.join("web01"))
    at, _ = images.part(images.SIZE, images.FIRST)
    past = read_at(one.expected["va"], at, 4096)
    with open(one.file(mnt, "va"), "rb", buffering=0) as old:
        one.assert_shown(mnt)
        mnt.control("release web01 --force")
        expect_live(tmp, one, "va", 0xb1)
        os.mkdir(mnt.join("web01"))
        error = error_of(os.pread, old.fileno(), 4096, at)
        assert error == "ESTALE" or (not option and error == "none")
        assert error == "ESTALE" or os.pread(old.fileno(), 4096, at) == past
        one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_old_directory_descriptor(tmp, mounted):
    """A descriptor of the old directory does not lead into the new one's
    past: what it finds is an error or the new content."""
    one, mnt = mounted
    os.mkdir(mnt.join("web01"))
    one.assert_shown(mnt)
    directory = os.open(mnt.join("web01"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rmdir(mnt.join("web01"))
        expect_live(tmp, one, "va", 0xc1)
        os.mkdir(mnt.join("web01"))
        error = error_of(os.open, "va.raw", os.O_RDONLY, dir_fd=directory)
        assert error in ("ENOENT", "ESTALE")
        one.assert_shown(mnt)
    finally:
        os.close(directory)
    os.rmdir(mnt.join("web01"))


def test_rmdir_and_mkdir_under_snapshot_mount(tmp, vm_factory, mount_factory):
    """Under snapshot=mount the directories work the same way."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    one.assert_shown(mnt)
    os.rmdir(mnt.join("web01"))
    one.assert_as_before()
    expect_live(tmp, one, "va", 0xd1)
    os.mkdir(mnt.join("web01"))
    one.vm.write("va", 0, images.MiB, 0x5a)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_a_directory_of_sockets(tmp, vm_factory, mount_factory):
    """One VM's snapshot does not touch the other VM."""
    first = scene.build(tmp, vm_factory, name="web01")
    second = scene.build(tmp, vm_factory, name="web02")
    mnt = mount_factory(tmp, "snapshot=mkdir")
    os.mkdir(mnt.join("web02"))
    assert os.listdir(mnt.path) == ["web02"]
    first.assert_as_before()
    second.overwrite_all("va")
    second.assert_shown(mnt)
    os.mkdir(mnt.join("web01"))
    os.rmdir(mnt.join("web02"))
    second.assert_as_before()
    first.overwrite_all("va")
    first.assert_shown(mnt)
    mnt.umount()
    first.assert_as_before()


@pytest.mark.parametrize("foreground", (True, False))
def test_second_mount_at_once(tmp, vm_factory, mount_factory, foreground):
    """A mount waits for its predecessor's teardown."""
    one = scene.build(tmp, vm_factory)
    for number in range(5):
        mnt = mount_factory(one.vm.qmp_path, name=f"mnt{number}",
                            foreground=foreground)
        one.assert_shown(mnt)
        subprocess.run(["umount", mnt.path], check=True)
    mnt.wait_gone()
    one.assert_as_before()


def test_lazy_umount_keeps_the_snapshot(tmp, vm_factory, mount_factory):
    """umount -l: the snapshot lives until the last file is closed."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    with open(one.file(mnt, "va"), "rb", buffering=0) as file:
        subprocess.run(["umount", "-l", mnt.path], check=True)
        one.overwrite_all("va")
        with open(one.expected["va"], "rb") as expected:
            assert file.read(images.SIZE) == expected.read(images.SIZE)
    mnt.wait_gone()
    one.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
@pytest.mark.parametrize("prelaunch", (True, False))
def test_a_paused_vm_stays_paused(tmp, vm_factory, mount_factory, prelaunch,
                                  method):
    two = scene.build(tmp, vm_factory, (("va", "raw", images.SIZE),
                                        ("vb", "raw", images.SIZE)),
                      paused=prelaunch)
    if not prelaunch:
        two.vm.execute("stop")
    before = two.vm.run_state()
    assert before == ("prelaunch" if prelaunch else "paused")
    mnt = mount_factory(two.vm.qmp_path, f"method={method}")
    assert two.vm.run_state() == before
    two.assert_shown(mnt)
    mnt.umount()
    assert two.vm.run_state() == before


@pytest.mark.parametrize("method", ("filter", "job"))
def test_a_running_vm_runs_again(tmp, vm_factory, mount_factory, method):
    living = scene.build_living(tmp, vm_factory)
    mnt = mount_factory(living.vm.qmp_path, f"method={method}",
                        "snapshot=mkdir")
    for _ in range(5):
        os.mkdir(mnt.join("web01"))
        assert living.vm.run_state() == "running"
        guest.wait_progress(living.vm, "va")
        os.rmdir(mnt.join("web01"))
        assert living.vm.run_state() == "running"
        guest.wait_progress(living.vm, "vb")
        living.assert_as_before()
    mnt.umount()


def threads_of(pid):
    """What its threads are called."""
    names = []
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        # it may end meanwhile
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
             open(path, encoding="ascii") as file:
            names.append(file.read().rstrip("\n"))
    return names


def test_end_while_one_is_taken(tmp, vm_factory, mount_factory):
    """It is taken, and released, before the daemon ends.  The watch over
    scratch, which is told of it, ends before: for the sanitizers."""
    one = scene.build(tmp, vm_factory)
    with QmpProxy(f"{tmp}/proxy.qmp", one.vm.qmp_path) as proxy, \
         concurrent.futures.ThreadPoolExecutor() as pool:
        mnt = mount_factory(proxy.path, "snapshot=mkdir")
        assert "scratch-watch" in threads_of(mnt.pid)
        proxy.arm(Fault("hold", "block-export-add"))
        made = pool.submit(error_of, os.mkdir, mnt.join("proxy"))
        wait_for(lambda: proxy.struck, what="the set-up")
        os.kill(mnt.pid, signal.SIGTERM)
        wait_for(lambda: "scratch-watch" not in threads_of(mnt.pid),
                 what="the end of the watch")
        proxy.disarm()
        assert made.result() == "none"
        mnt.wait_gone()
        assert "block-export-del" in proxy.log
    one.assert_as_before()
