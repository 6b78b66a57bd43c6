# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD server that is right now and then: no wrong byte, no hidden error."""

import os
import random
import subprocess

import pytest

import images
import refusal
from files import error_of, read_at
from nbdserver import SAFE, script

KiB, MiB = images.KiB, images.MiB
PIECE = 64 * KiB
BAD = 11 * PIECE + 512      # a byte that can never be read
COUNT = ("n=$(($(cat {tmp}/{name} 2>/dev/null || echo 0) + 1)); "
         "echo $n >{tmp}/{name}; ")
READ = "dd if={tmp}/image bs=64k skip=$4 count=$3 status=none " \
       "iflag=skip_bytes,count_bytes"


@pytest.fixture
def content(tmp):
    """What the server has, in a file."""
    data = random.Random(6).randbytes(MiB)
    with open(f"{tmp}/image", "wb") as file:
        file.write(data)
    return data


def right_or_refused(path, content):
    """Read it piece by piece; how many were right, and how many EIO."""
    found = {"none": 0, "EIO": 0}
    for at in range(0, len(content), PIECE):
        found[error_of(read_right, path, content, at)] += 1
    return found


def read_right(path, content, at):
    """A piece, which the page cache may give in parts."""
    end = at + PIECE
    while at < end:
        data = read_at(path, at, end - at)
        assert data and data == content[at:at + len(data)], at
        at += len(data)


@pytest.mark.parametrize("words", (("discard",), (SAFE,)),
                         ids=("any", "safe"))
def test_every_third_request_fails(tmp, mount_factory, content, words):
    """And one block every time: reading ahead may help with the others."""
    cases = (f"get_size) echo {MiB};;\n"
             "can_multi_conn|can_write|can_trim) ;;\npread) "
             + COUNT.format(tmp=tmp, name="reads")
             + f"if [ $((n % 3)) = 0 ] || [ $4 -le {BAD} -a "
             f"$(($4 + $3)) -gt {BAD} ]; then echo EIO >&2; exit 1; fi\n" + READ.format(tmp=tmp) + ";;")
    with script(tmp, cases) as one:
        mnt = mount_factory(one.uri(), *words)
        path = mnt.join("nbd", "disk.raw")
        found = right_or_refused(path, content)
        assert found["none"] and found["EIO"], found
        copied = subprocess.run(["cp", path, f"{tmp}/copy"], check=False,
                                capture_output=True, text=True)
        assert copied.returncode and "Input/output error" in copied.stderr
        with open(f"{tmp}/copy", "rb") as file:
            begun = file.read()
        assert len(begun) < MiB and content.startswith(begun)
        disk = mnt.disk_status("nbd", "disk")
        assert disk["failed_reads"] >= found["EIO"]
        assert mnt.vm_status("nbd")["state"] == "live"
        mnt.umount()


@pytest.mark.parametrize("later", (MiB // 2, 2 * MiB), ids=("less", "more"))
@pytest.mark.parametrize("change", (2, 3, 4))
def test_size_differs_between_connections(tmp, mount_factory, content, change,
                                          later):
    """It is refused, or all connections that there are agree."""
    cases = ("get_size) " + COUNT.format(tmp=tmp, name="sizes")
             + f"if [ $n -lt {change} ]; then echo {MiB}; else "
             f"echo {later}; fi;;\ncan_multi_conn) ;;\n"
             "pread) " + READ.format(tmp=tmp) + ";;")
    with script(tmp, cases) as one:
        mnt = mount_factory(one.uri(), SAFE, "connections=2", check=False)
        with open(f"{tmp}/sizes", encoding="ascii") as file:
            asked = int(file.read())
        if mnt.returncode is not None:
            refusal.assert_refused(mnt, "expected")
            assert asked >= change
            return
        assert asked < change, "a size that differs was not noticed"
        path = mnt.join("nbd", "disk.raw")
        assert os.stat(path).st_size == MiB
        assert right_or_refused(path, content) == {"none": 16, "EIO": 0}
        mnt.umount()
