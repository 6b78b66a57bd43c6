# SPDX-License-Identifier: GPL-2.0-or-later
"""Backup programs skip a disk that has not changed, night after night.

Between two snapshots that were committed, size, times and inode number of its
file are the same; that is what they go by.
"""

import json
import os
import subprocess
import time

import pytest

import images
import scene
from deadline import wait_for
from nights import Nights

MiB = images.MiB
# a disk with a guest that writes to it is beside the one that is quiet
TWO = (("quiet", "qcow2", 4 * MiB), ("other", "raw", 4 * MiB))


def rsync(tmp, path):
    """Whether rsync -a transferred the file."""
    os.makedirs(f"{tmp}/rsync", exist_ok=True)
    said = _run(["rsync", "-a", "--stats", path, f"{tmp}/rsync/"])
    return "regular files transferred: 1" in said


def restic(tmp, path):
    """Whether restic read the file."""
    env = {"RESTIC_REPOSITORY": f"{tmp}/restic", "RESTIC_PASSWORD": "x",
           "RESTIC_CACHE_DIR": f"{tmp}/restic-cache"}
    if not os.path.exists(f"{tmp}/restic"):
        _run(["restic", "init"], env)
    said = _run(["restic", "backup", "--json", path], env)
    summary = json.loads(said.strip().splitlines()[-1])
    assert summary["files_unmodified"] + summary["files_new"] + \
        summary["files_changed"] == 1
    return summary["files_unmodified"] == 0


def borg(tmp, path):
    """Whether borg read the file."""
    env = {"BORG_REPO": f"{tmp}/borg", "BORG_BASE_DIR": f"{tmp}/borg-base",
           "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    if not os.path.exists(f"{tmp}/borg"):
        _run(["borg", "init", "-e", "none"], env)
    # what has the newest time of all, borg does not trust the next time
    said = _run(["borg", "create", "--list", "::{utcnow:%H%M%S%f}", path,
                 os.path.join(os.path.dirname(path), "vm.json")], env)
    states = [line.split()[0] for line in said.splitlines()
              if line.endswith(path)]
    assert len(states) == 1, said
    return states[0] != "U"


def _run(command, env=None):
    done = subprocess.run(command, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **(env or {})})
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


# How many nights it takes until the tool can know that nothing has changed.
TOOLS = {"rsync": (rsync, 1), "restic": (restic, 1), "borg": (borg, 2)}


@pytest.mark.parametrize("tool", TOOLS)
def test_skipped(tmp, vm_factory, mount_factory, need_tool, tool):
    need_tool(tool)
    copies, knows = TOOLS[tool]
    two = scene.build(tmp, vm_factory, TWO)
    nights = Nights(tmp, two, mount_factory)
    path = nights.mnt.join("web01", "quiet.raw")
    seen = set()
    for night in range(knows + 4):
        two.vm.write("other", 0, MiB, 0x10 + night)
        nights.snapshot()
        stat = os.stat(path)
        seen.add((stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size,
                  stat.st_ino))
        assert copies(tmp, path) is (night < knows), night
        nights.commit()
        nights.release()
    assert len(seen) == 1
    wait_for(lambda: int(time.time()) > int(stat.st_mtime),
             what="the next second: rsync knows no less")
    two.vm.write("quiet", 0, 512, 0x77)
    nights.snapshot()
    assert copies(tmp, path) is True
    nights.release()
    nights.mnt.umount()
