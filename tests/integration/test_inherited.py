# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command inherits from whoever starts it does not get in its way.

Started by scripts, by other daemons and with limits; test_mounting has closed
standard files and the number of descriptors.
"""

import os
import signal

import pytest

import images
import mount
import scene
from deadline import wait_for
from namespace import NOBODY
from ours import processes_of

SMALL = images.MiB


@pytest.fixture
def one(tmp, vm_factory):
    scene_ = scene.build(tmp, vm_factory)
    os.chmod(scene_.vm.qmp_path, 0o777)
    return scene_


@pytest.fixture
def point(tmp):
    path = f"{tmp}/mnt"
    os.mkdir(path)
    os.chown(path, NOBODY, NOBODY)
    return path


def shown(inside, point, user):
    said = inside.good("sha256sum", f"{point}/web01/va.raw", user=user)
    return said.split()[0]


def test_umask(inside, one, point):
    """The mask is for files of the caller's, not for what we have to enter;
    root would not notice."""
    inside.good("sh", "-c", 'umask 0777; exec fleecefs "$@"', "sh",
                one.vm.qmp_path, point, user=NOBODY)
    assert shown(inside, point, NOBODY) == one.sha("va")
    inside.good("umount.fleecefs", point, user=NOBODY)
    one.assert_as_before()


@pytest.mark.parametrize("tool", (("umount.fleecefs",),
                                  ("fleecectl", "umount")))
def test_ignored_children(inside, one, point, tool):
    """Whoever ignores the end of children does not learn how they ended:
    that of fusermount3 has to be known."""
    ignoring = ("env", "--ignore-signal=CHLD")
    inside.good(*ignoring, "fleecefs", one.vm.qmp_path, point, user=NOBODY)
    assert shown(inside, point, NOBODY) == one.sha("va")
    done = inside.run(*ignoring, "sh", "-c", 'exec 9<"$0/web01/va.raw"; "$@"',
                      point, *tool, point, user=NOBODY)
    assert done.returncode != 0 and "busy" in done.stderr, done
    inside.good(*ignoring, *tool, point, user=NOBODY)
    one.assert_as_before()


def test_blocked_signals(inside, one, point):
    """It can be ended by those that whoever started it has blocked."""
    inside.good("env", "--block-signal", "fleecefs", one.vm.qmp_path, point)
    pid = int(os.getxattr(inside.path(point), "user.fleecefs.pid"))
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not processes_of(point), what="the end of all")
    assert inside.kind(point) == ""
    one.assert_as_before()


def test_small_files(inside, one, point):
    """A limit for files, which scratch files are, is told and kills nobody."""
    done = inside.run("prlimit", f"--fsize={SMALL}", "fleecefs",
                      one.vm.qmp_path, point)
    assert done.returncode == mount.MOUNT_FAILED
    assert "disk va: scratch=" in done.stderr
    assert "File too large" in done.stderr
    one.assert_as_before()


def test_open_files(tmp, inside, one, point):
    """Those of a script are its own: a lock that it gives up is free."""
    inside.good("sh", "-c", 'exec 9>"$1"; flock 9; fleecefs "$2" "$3"; '
                'exec 9>&-; exec flock -n "$1" true', "sh", f"{tmp}/lock",
                one.vm.qmp_path, point)
    assert shown(inside, point, 0) == one.sha("va")
    inside.good("umount", point)
    one.assert_as_before()
