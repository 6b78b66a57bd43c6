# SPDX-License-Identifier: GPL-2.0-or-later
"""The guardian as a process: what keeps it alive longer than the daemon."""

import os
import subprocess

import scene


def read(pid, name):
    with open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
        return file.read().strip()


def lowest_score():
    """What this kernel lets us have: -900, or what we have already."""
    told = subprocess.run(
        ["sh", "-c", "echo -900 2>&- >/proc/self/oom_score_adj; "
                     "cat /proc/self/oom_score_adj"],
        capture_output=True, text=True, check=True)
    return int(told.stdout)


def test_the_guardian_outlives_the_daemon(tmp, vm_factory, mount_factory):
    """Last for the OOM killer, in a session of its own, nothing open of FUSE.
    """
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    (guardian,) = [pid for pid in mnt.processes() if pid != mnt.pid]
    assert read(guardian, "comm") == "fleecefs-guard"
    assert int(read(guardian, "oom_score_adj")) == lowest_score()
    assert os.getsid(guardian) != os.getsid(mnt.pid)
    opened = [os.readlink(f"/proc/{guardian}/fd/{fd}")
              for fd in os.listdir(f"/proc/{guardian}/fd")]
    assert "/dev/fuse" not in opened, opened
    mnt.umount()
