# SPDX-License-Identifier: GPL-2.0-or-later
"""An ordinary user: no root anywhere but in the setuid fusermount3.

The VM is root's, with a monitor that everybody may use, as for a user in the
right group.
"""

import json
import os
import stat

import pytest

import images
import mount
import scene
from deadline import wait_for
from namespace import NOBODY
from ours import processes_of


@pytest.fixture
def one(tmp, vm_factory):
    made = scene.build(tmp, vm_factory)
    os.chmod(made.vm.qmp_path, 0o666)
    return made


@pytest.fixture
def point(tmp):
    """The user's own mountpoint, and a scratch directory beside it."""
    for name in ("mnt", "scratch"):
        os.mkdir(f"{tmp}/{name}")
        os.chown(f"{tmp}/{name}", NOBODY, NOBODY)
    return f"{tmp}/mnt"


def start(inside, one, point, *words):
    options = ",".join([f"scratch={os.path.dirname(point)}/scratch", *words])
    return inside.run("fleecefs", "-o", options, one.vm.qmp_path, point,
                      user=NOBODY)


def shown(inside, point):
    said = inside.good("sha256sum", f"{point}/web01/va.raw", user=NOBODY)
    return said.split()[0]


def assert_gone(inside, one, point):
    one.assert_as_before()
    assert inside.kind(point) == ""


ENDS = (("umount",), ("umount.fleecefs",), ("umount.fuse.fleecefs",))


@pytest.mark.parametrize("end", ENDS)
def test_mount_and_umount(inside, one, point, end):
    """The user's own; root cannot look in, and has no business there."""
    done = start(inside, one, point)
    assert (done.returncode, done.stderr) == (0, "")
    assert inside.kind(point) == "fuse.fleecefs"
    one.overwrite_all("va")
    assert shown(inside, point) == one.sha("va")
    about = inside.good("stat", "-c", "%u %g %a", point,
                        f"{point}/web01/va.raw", user=NOBODY)
    assert about == f"{NOBODY} {NOBODY} 700\n{NOBODY} {NOBODY} 400\n"
    assert {os.stat(f"/proc/{pid}").st_uid for pid in processes_of(point)
            } <= {NOBODY, 0}
    inside.good(*end, point, user=NOBODY)
    assert_gone(inside, one, point)


@pytest.mark.parametrize("tool", ("fusermount3", "fusermount"))
def test_fusermount(inside, one, point, tool, need_tool):
    """It does not wait for the daemon; all is gone soon after."""
    need_tool(tool)
    assert start(inside, one, point).returncode == 0
    inside.good(tool, "-u", point, user=NOBODY)
    wait_for(lambda: not processes_of(point), what="the daemon's end")
    assert_gone(inside, one, point)


def test_at_once_again(inside, one, point):
    for _ in range(3):
        done = start(inside, one, point)
        assert (done.returncode, done.stderr) == (0, "")
        assert shown(inside, point) == one.sha("va")
        inside.good("umount.fleecefs", point, user=NOBODY)
    assert_gone(inside, one, point)


def test_discard_and_directories(inside, one, point):
    assert start(inside, one, point, "snapshot=mkdir,discard").returncode == 0
    one.assert_as_before()
    inside.good("mkdir", f"{point}/web01", user=NOBODY)
    path = f"{point}/web01/va.raw"
    assert shown(inside, point) == one.sha("va")
    inside.good("fallocate", "-p", "-o", "0", "-l", "1MiB", path, user=NOBODY)
    done = inside.run("cat", path, user=NOBODY)
    assert "No data available" in done.stderr
    inside.good("rmdir", f"{point}/web01", user=NOBODY)
    one.assert_as_before()
    inside.good("umount.fleecefs", point, user=NOBODY)
    assert_gone(inside, one, point)


def test_root_unmounts_it(inside, one, point):
    """umount(8) of root too comes back when QEMU is clean, or says why."""
    assert start(inside, one, point).returncode == 0
    inside.good("umount", point)
    wait_for(lambda: not processes_of(point), what="the daemon's end")
    assert_gone(inside, one, point)


def test_killed_daemon(inside, one, point):
    """The guardian needs fusermount3 here to take the mount away."""
    assert start(inside, one, point).returncode == 0
    status = inside.good("cat", f"{point}/.fleecefs/status", user=NOBODY)
    os.kill(json.loads(status)["pid"], 9)
    wait_for(lambda: not processes_of(point), what="the guardian's end")
    assert_gone(inside, one, point)


@pytest.mark.parametrize("why", ("monitor", "mountpoint", "scratch",
                                 "allow_other"))
def test_what_a_user_may_not(inside, one, point, why):
    """Each is one clear word of who refused it, and nothing is left."""
    words = []
    if why == "monitor":
        os.chmod(one.vm.qmp_path, 0o600)
    elif why == "mountpoint":
        os.chown(point, 0, 0)
        os.chmod(point, 0o755)
    elif why == "scratch":
        os.chown(f"{os.path.dirname(point)}/scratch", 0, 0)
        os.chmod(f"{os.path.dirname(point)}/scratch", stat.S_IRWXU)
    else:
        words = ["allow_other"]
    done = start(inside, one, point, *words)
    assert done.returncode == mount.MOUNT_FAILED, done
    said = {"monitor": one.vm.qmp_path, "mountpoint": point,
            "scratch": "disk va: scratch=", "allow_other": "allow_other"}
    assert said[why] in done.stderr
    assert_gone(inside, one, point)
    assert images.sha256(one.expected["va"]) == one.sha("va")
