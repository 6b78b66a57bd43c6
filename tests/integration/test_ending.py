# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is told to end: its mount goes with it, and nothing else does."""

import os
import signal
import subprocess

import pytest

import scene
from files import error_of
from ours import mounts_below

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("sig", ENDS, ids=lambda sig: sig.name)
def test_signal(tmp, vm_factory, mount_factory, sig):
    """A file that is open has no daemon any more, and keeps no mount."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    one.assert_shown(mnt)
    with open(one.file(mnt, "va"), "rb", buffering=0) as file:
        # what is in the page cache would be read without a daemon
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.kill(mnt.pid, sig)
        mnt.wait_gone()
        assert error_of(file.read, 4096) in ("ENOTCONN", "ECONNABORTED")
    one.assert_as_before()


def test_what_is_mounted_over_it(tmp, vm_factory, mount_factory):
    """It is not what the daemon unmounts, who says that it could not."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    subprocess.run(["mount", "-t", "tmpfs", "none", mnt.path], check=True)
    try:
        with open(mnt.join("theirs"), "w", encoding="ascii") as file:
            file.write("theirs")
        os.kill(mnt.pid, signal.SIGTERM)
        assert mnt.process.wait(30) == 0, mnt.report()
        assert os.listdir(mnt.path) == ["theirs"]
        assert f"something else is at {mnt.path}" in mnt.stderr()
    finally:
        subprocess.run(["umount", mnt.path], check=True)
    # what is under it has no daemon
    assert mounts_below(mnt.path) == [mnt.path]
    assert error_of(os.listdir, mnt.path) == "ENOTCONN"
    subprocess.run(["umount", mnt.path], check=True)
    mnt.wait_gone()
    one.assert_as_before()
