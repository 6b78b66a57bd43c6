# SPDX-License-Identifier: GPL-2.0-or-later
"""The errno table: what a mount refuses, and with which words."""

import os
import subprocess

import pytest

import files
import mount
import scene
from files import error_of, open_error


@pytest.fixture(params=("", "discard"))
def mounted(request, tmp, vm_factory, mount_factory):
    """A mount without and with discard, and whether it has discard."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, request.param)
    yield one, mnt, bool(request.param)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_nothing_is_made_or_changed(mounted):
    one, mnt, _ = mounted
    path, new = one.file(mnt, "va"), mnt.join("web01", "new")
    assert open_error(new, os.O_CREAT | os.O_WRONLY) == "EROFS"
    assert open_error(mnt.join("new"), os.O_CREAT | os.O_WRONLY) == "EROFS"
    for call in ((os.unlink, path), (os.rename, path, new),
                 (os.rename, mnt.join("web01"), mnt.join("web02")),
                 (os.link, path, new), (os.symlink, "x", new),
                 (os.mknod, new), (os.mkdir, new), (os.chmod, path, 0o644),
                 (os.chown, path, 1, 1), (os.utime, path),
                 (os.truncate, path, 0),
                 (os.setxattr, path, "user.x", b"x"),
                 (os.removexattr, path, "user.fleecefs.instant")):
        assert error_of(*call) == "EROFS", call
    for name in ("va.dirty", "va.dirty.json", "vm.json"):
        other = mnt.join("web01", name)
        assert open_error(other, os.O_WRONLY) == "EROFS", name


def test_open_for_writing(mounted):
    one, mnt, discard = mounted
    path = one.file(mnt, "va")
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND):
        assert open_error(path, flags) == ("none" if discard else "EROFS")
    assert open_error(path, os.O_RDWR | os.O_TRUNC) == "EROFS"


def test_writing(mounted):
    one, mnt, discard = mounted
    if not discard:
        return
    fd = os.open(one.file(mnt, "va"), os.O_RDWR)
    try:
        assert error_of(os.pwrite, fd, b"x", 0) == "EROFS"
        assert error_of(os.pwrite, fd, b"x" * 65536, 4096) == "EROFS"
        for size in (0, 512, one.size("va") * 2):
            assert error_of(os.ftruncate, fd, size) == "EROFS"
        for mode in (0, files.KEEP_SIZE, files.ZERO_RANGE,
                     files.ZERO_RANGE | files.KEEP_SIZE,
                     files.COLLAPSE_RANGE, files.INSERT_RANGE,
                     files.UNSHARE_RANGE):
            refused = error_of(files.fallocate, fd, mode, 0, 65536)
            assert refused == "EOPNOTSUPP", mode
    finally:
        os.close(fd)


def test_directories(mounted):
    _, mnt, _ = mounted
    assert error_of(os.mkdir, mnt.join("no-such-vm")) == "ENOENT"
    assert error_of(os.mkdir, mnt.join("web01")) == "EEXIST"
    assert error_of(os.rmdir, mnt.join("no-such-vm")) == "ENOENT"
    assert error_of(os.stat, mnt.join("web01", "vz.raw")) == "ENOENT"


def test_rmdir_with_an_open_file(mounted):
    one, mnt, _ = mounted
    with open(one.file(mnt, "va"), "rb"):
        assert error_of(os.rmdir, mnt.join("web01")) == "EBUSY"


def test_rm_releases_nothing(mounted):
    one, mnt, _ = mounted
    done = subprocess.run(["rm", "-rf", mnt.join("web01")], check=False,
                          capture_output=True, text=True)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr
    assert one.file(mnt, "va") in [mnt.join("web01", name)
                                   for name in os.listdir(mnt.join("web01"))]


def test_control_file(mounted):
    _, mnt, _ = mounted
    assert error_of(mnt.control, "snapshot no-such-vm") == "ENOENT"
    assert error_of(mnt.control, "release no-such-vm") == "ENOENT"
    assert error_of(mnt.control, "no-such-word web01") == "EINVAL"
    assert error_of(mnt.control, "") == "EINVAL"


@pytest.mark.parametrize("words, said", (
    (("no_such_option",), "no_such_option"), (("method=magic",), "method"),
    (("cbw_timeout=x",), "cbw_timeout"), (("snapshot=never",), "snapshot"),
    (("timeout=-1",), "timeout"), (("chain=a/b",), "chain")))
def test_bad_options(tmp, vm_factory, mount_factory, words, said):
    """An unknown option or bad value: one line that names it, exit 1."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, *words, check=False)
    assert mnt.returncode == mount.USAGE, mnt.report()
    assert said in mnt.stderr()
    assert len(mnt.stderr().strip().splitlines()) == 1, mnt.stderr()
    assert not mnt.mounted()
    one.assert_as_before()


@pytest.mark.parametrize("word", ("discard", "snapshot=mkdir"))
def test_ro_with_what_needs_writing(tmp, vm_factory, mount_factory, word):
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path, "ro", word, check=False)
    assert mnt.returncode == mount.USAGE, mnt.report()
    assert "ro" in mnt.stderr() and not mnt.mounted()
    one.assert_as_before()


@pytest.mark.parametrize("foreground", (True, False))
def test_no_such_socket(tmp, mount_factory, foreground):
    mnt = mount_factory(f"{tmp}/none.qmp", check=False,
                        foreground=foreground)
    assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
    assert "none" in mnt.stderr() and not mnt.mounted()


@pytest.mark.parametrize("foreground", (True, False))
def test_share_rw_is_refused_by_name(tmp, vm_factory, mount_factory,
                                     foreground):
    one = scene.build(tmp, vm_factory, disk_options={"share_rw": True})
    mnt = mount_factory(one.vm.qmp_path, check=False, foreground=foreground)
    assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
    assert "va" in mnt.stderr() and "share-rw" in mnt.stderr()
    assert not mnt.mounted()
    one.assert_as_before()
