# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of a Linux guest's file systems: are they sound, and of when?

A copy of a disk at an instant is what a disk is after a power failure: the
journal is replayed first, and then nothing may be wrong.
"""

import contextlib
import os
import subprocess

from deadline import wait_for


class NotSound(AssertionError):
    """A file system that its journal does not bring in order."""


def needs_recovery(image):
    """Whether the ext4 of an image was in use: its journal has the truth."""
    said = subprocess.run(["dumpe2fs", "-h", image], check=True, text=True,
                          capture_output=True).stdout
    return "needs_recovery" in said


def recover(kind, image):
    """Replay the journal, check what it makes of it, and return /count."""
    return {"ext4": _recover_ext4, "xfs": _recover_xfs}[kind](image)


def _recover_ext4(image):
    # 1: the journal was replayed, or files that were being removed are
    _tool(["e2fsck", "-p", image], (0, 1))
    return checked_ext4(image)


def checked_ext4(image):
    """Assert that it is sound as it is, without its journal: its /count."""
    said = _tool(["e2fsck", "-fn", image])
    if "recovery" in said:
        raise NotSound(said)
    return int(_tool(["debugfs", "-R", "cat /count", image],
                     with_stderr=False))


def _recover_xfs(image):
    """The kernel replays the log, as it does where a guest boots again."""
    with _mounted(image) as where:
        with open(f"{where}/count", encoding="ascii") as file:
            count = int(file.read())
    _tool(["xfs_repair", "-n", "-f", image])
    return count


@contextlib.contextmanager
def _mounted(image):
    where = f"{image}.mnt"
    os.makedirs(where, exist_ok=True)
    _tool(["mount", "-t", "xfs", "-o", "loop,nouuid", image, where])
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        # another test's mount namespace may have a copy for a moment
        wait_for(lambda: not _tool(["losetup", "-j", image]),
                 what=f"the end of {where}")


def _tool(command, good=(0,), with_stderr=True):
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False, errors="replace")
    if done.returncode not in good:
        raise NotSound(f"{command}: {done.returncode}\n"
                       f"{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if with_stderr else "")
