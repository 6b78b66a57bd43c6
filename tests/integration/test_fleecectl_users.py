# SPDX-License-Identifier: GPL-2.0-or-later
"""The control tool as it is installed, and in the hands of other users."""

import os
import signal

import pytest

import fleecectl
import scene
from namespace import NOBODY


@pytest.fixture
def shared(tmp, vm_factory):
    """A VM whose monitor everybody may use, and a user's own mountpoint."""
    one = scene.build(tmp, vm_factory)
    os.chmod(one.vm.qmp_path, 0o666)
    for name in ("mnt", "scratch"):
        os.mkdir(f"{tmp}/{name}")
        os.chown(f"{tmp}/{name}", NOBODY, NOBODY)
    yield one
    one.assert_as_before()


WORDS = {"status": (), "snapshot": ("web01",), "release": ("web01",)}


@pytest.mark.parametrize("option", ("allow_other", ""))
def test_another_user_is_refused(tmp, inside, shared, option):
    """With allow_other too: the mount is to be seen, not to be controlled."""
    point = f"{tmp}/mnt"
    words = ["-o", option] if option else []
    inside.good("fleecefs", *words, shared.vm.qmp_path, point)
    for verb, rest in WORDS.items():
        done = inside.run("fleecectl", verb, point, *rest, user=NOBODY)
        assert "Permission denied" in fleecectl.line_of(done)
    done = inside.run("fleecectl", "umount", point, user=NOBODY)
    assert point in fleecectl.line_of(done)
    assert inside.kind(point) == "fuse.fleecefs"
    assert "live" in inside.good("fleecectl", "status", point)
    inside.good("fleecectl", "umount", point)
    assert inside.kind(point) == ""


def test_a_users_own(tmp, inside, shared):
    """All of it works without root; root cannot look in."""
    point = f"{tmp}/mnt"
    inside.good("fleecefs", "-o", f"snapshot=mkdir,scratch={tmp}/scratch",
                shared.vm.qmp_path, point, user=NOBODY)
    inside.good("fleecectl", "snapshot", point, "web01", user=NOBODY)
    assert "live" in inside.good("fleecectl", "status", point, user=NOBODY)
    done = inside.run("fleecectl", "status", point)
    assert "Permission denied" in fleecectl.line_of(done)
    inside.good("fleecectl", "umount", point, user=NOBODY)
    shared.assert_as_before()
    assert inside.kind(point) == ""


def test_a_users_own_is_busy(tmp, inside, shared):
    """What fusermount3 says is in the one line."""
    point = f"{tmp}/mnt"
    inside.good("fleecefs", "-o", f"scratch={tmp}/scratch",
                shared.vm.qmp_path, point, user=NOBODY)
    done = inside.run("sh", "-c", 'exec 3<"$1/web01/va.raw"; '
                      'exec fleecectl umount "$1"', "sh", point, user=NOBODY)
    assert "busy" in fleecectl.line_of(done)
    inside.good("fleecectl", "umount", point, user=NOBODY)


def test_what_is_no_fleecefs(tmp, inside, need_tool):
    """Root may not look into another user's, and takes nothing away for
    that."""
    need_tool("qemu-storage-daemon")
    point = f"{tmp}/file"
    with open(point, "wb"):
        os.chown(point, NOBODY, NOBODY)
    inside.good(
        "qemu-storage-daemon", "--daemonize", "--pidfile", f"{tmp}/pid",
        "--blockdev", "null-co,node-name=n,size=1048576", "--export",
        f"fuse,id=e,node-name=n,mountpoint={point},allow-other=off",
        user=NOBODY)
    try:
        assert inside.kind(point) == "fuse"
        said = fleecectl.line_of(inside.run("fleecectl", "umount", point))
        assert point in said
        assert inside.kind(point) == "fuse"
    finally:
        inside.good("umount", point)
        with open(f"{tmp}/pid", encoding="utf-8") as file:
            os.kill(int(file.read()), signal.SIGTERM)


def test_installed(inside):
    """With its manual."""
    assert inside.good("fleecectl", "--version").startswith("fleecectl ")
    found = inside.good("find", f"{inside.directory}/installed", "-name",
                        "fleecectl.8*")
    assert len(found.splitlines()) == 1
