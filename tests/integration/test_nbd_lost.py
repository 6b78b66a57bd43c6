# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD server of somebody else's that goes, or says nothing any more."""

import os
import socket
import threading

import pytest

import refusal
from deadline import wait_for
from files import error_of, read_at
from nbdserver import SAFE, nbdkit, script, uri_of


def is_gone(mnt):
    return mnt.vm_status("nbd")["state"] == "gone"


@pytest.mark.parametrize("words", ((), (SAFE,)))
def test_killed(tmp, mount_factory, words):
    """EIO at once, without a read before; mkdir does not wait either."""
    with nbdkit(tmp, "memory", "1M", options=("--filter=noextents",)) as one:
        mnt = mount_factory(one.uri(), "discard", *words)
        raw = mnt.join("nbd", "disk.raw")
        assert read_at(raw, 0, 8) == bytes(8)   # the control
        one.end()
        wait_for(lambda: is_gone(mnt), what="gone")
        assert error_of(read_at, raw, 0, 8) == "EIO"
        os.rmdir(mnt.join("nbd"))
        assert error_of(os.mkdir, mnt.join("nbd")) == "ENOENT"
        mnt.umount()


def test_killed_under_a_read(tmp, mount_factory):
    """A read that the server has and does not answer ends with it."""
    with script(tmp, "get_size) echo 1M;;\n"
                f"pread) touch {tmp}/asked; while [ -e {tmp}/asked ]; do "
                "sleep 0.05; done; exit 1;;") as one:
        mnt = mount_factory(one.uri())
        found = []
        reader = threading.Thread(target=lambda: found.append(error_of(
            read_at, mnt.join("nbd", "disk.raw"), 0, 8)))
        reader.start()
        wait_for(lambda: os.path.exists(f"{tmp}/asked"), what="the read")
        one.end()
        reader.join(30)
        os.unlink(f"{tmp}/asked")
        assert found == ["EIO"] and is_gone(mnt)
        mnt.umount()


def test_hangs(tmp, mount_factory):
    """EIO after read_timeout, and the end of the mount waits for nothing."""
    with nbdkit(tmp, "memory", "1M") as one:
        mnt = mount_factory(one.uri(), "discard", "read_timeout=1")
        one.hang()
        raw = mnt.join("nbd", "disk.raw")
        assert error_of(read_at, raw, 0, 8) == "EIO"
        assert is_gone(mnt)
        mnt.umount()


def test_silent_in_the_handshake(tmp, mount_factory):
    path = f"{tmp}/mute.nbd"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen(4)
        mnt = mount_factory(uri_of(path), "timeout=1", check=False)
        refusal.assert_refused(mnt, "handshake", "1000 ms")
