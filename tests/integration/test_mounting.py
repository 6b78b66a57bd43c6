# SPDX-License-Identifier: GPL-2.0-or-later
"""mount(8), fstab, umount(8), and the program in the background.

All in a private mount namespace with the programs installed, as an
administrator has them.
"""

import os
import signal
import subprocess

import pytest

import images
import mount
import scene
from deadline import DEADLINE, wait_for
from files import error_of
from namespace import NOBODY
from ours import mounts_below, processes_of
from qmpproxy import Fault, QmpProxy

TYPES = ("fuse.fleecefs", "fleecefs")


@pytest.fixture
def one(tmp, vm_factory):
    return scene.build(tmp, vm_factory)


@pytest.fixture
def point(tmp):
    path = f"{tmp}/mnt"
    os.mkdir(path)
    return path


def shown(inside, point):
    return images.sha256(inside.path(f"{point}/web01/va.raw"))


def assert_gone(inside, one, point):
    """QEMU is clean now, not soon, and so is the namespace."""
    one.assert_as_before()
    assert inside.kind(point) == ""
    assert os.listdir(inside.path(point)) == []


@pytest.mark.parametrize("kind", TYPES)
def test_mount_and_umount(inside, one, point, kind):
    """umount(8) returns when QEMU is clean, however much there is to do."""
    inside.good("mount", "-t", kind, one.vm.qmp_path, point)
    assert inside.kind(point) == "fuse.fleecefs"
    assert one.vm.state() != one.before
    one.overwrite_all("va")
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


@pytest.mark.parametrize("kind", TYPES)
def test_umount_and_mount_at_once(inside, one, point, kind):
    for _ in range(4):
        inside.good("mount", "-t", kind, one.vm.qmp_path, point)
        assert shown(inside, point) == one.sha("va")
        inside.good("umount", point)
    assert_gone(inside, one, point)


@pytest.mark.parametrize("kind", TYPES)
def test_fstab(tmp, inside, one, point, kind):
    """With the options that are there for mount(8) and systemd alone."""
    with open(f"{tmp}/fstab", "w", encoding="utf-8") as file:
        file.write(f"{one.vm.qmp_path} {point} {kind} defaults,noauto,nofail,"
                   "_netdev,x-systemd.automount,comment=nightly,"
                   "nodiratime,strictatime,lazytime,nosymfollow,silent,"
                   "snapshot=mkdir,discard,nosuid,noexec 0 0\n")
    inside.good("mount", point)
    one.assert_as_before()
    os.mkdir(inside.path(f"{point}/web01"))
    assert shown(inside, point) == one.sha("va")
    mode = os.stat(inside.path(f"{point}/web01/va.raw")).st_mode
    assert mode & 0o777 == 0o600
    inside.good("umount", point)
    assert_gone(inside, one, point)


@pytest.mark.parametrize("word, in_list", (
    ("ro", "ro,"), ("fsname=nightly", "nightly "), ("noexec", "noexec"),
    ("max_read=65536", "max_read=65536")))
def test_options_in_the_kernels_list(inside, one, point, word, in_list):
    inside.good("mount", "-t", "fleecefs", "-o", word, one.vm.qmp_path, point)
    line = inside.good("grep", point, "/proc/mounts")
    assert in_list in line
    assert one.vm.qmp_path in line or "fsname" in word
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_owner_only(inside, one, point):
    """Without allow_other nobody else sees anything."""
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    done = inside.run("ls", point, user=NOBODY)
    assert done.returncode != 0 and "Permission denied" in done.stderr
    inside.good("umount", point)
    assert_gone(inside, one, point)


@pytest.mark.parametrize("mask, mode", (("", 0o755), ("umask=077", 0o700),
                                        ("umask=027", 0o750)))
def test_allow_other(inside, one, point, mask, mode):
    """The owner that uid= names reads; another user does not."""
    words = ["allow_other", f"uid={NOBODY}", f"gid={NOBODY}", mask]
    inside.good("mount", "-t", "fleecefs", "-o",
                ",".join(word for word in words if word), one.vm.qmp_path,
                point)
    path = f"{point}/web01/va.raw"
    about = inside.good("stat", "-c", "%a %u %g", f"{point}/web01", path,
                        user=NOBODY)
    assert about == (f"{mode:o} {NOBODY} {NOBODY}\n"
                     f"400 {NOBODY} {NOBODY}\n")
    said = inside.good("sha256sum", path, user=NOBODY)
    assert said.split()[0] == one.sha("va")
    other = inside.run("cat", path, user=NOBODY - 1)
    assert other.returncode != 0 and "Permission denied" in other.stderr
    listed = inside.run("ls", point, user=NOBODY - 1)
    assert (listed.returncode == 0) == (mode & 0o5 == 0o5)
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_busy_and_lazy(inside, one, point):
    """An open file keeps umount off; umount -l returns, and the snapshot
    stays until the file is closed."""
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    with open(inside.path(f"{point}/web01/va.raw"), "rb",
              buffering=0) as file:
        done = inside.run("umount", point)
        assert done.returncode == 32 and "busy" in done.stderr
        assert shown(inside, point) == one.sha("va")
        inside.good("umount", "-l", point)
        one.overwrite_all("va")
        with open(one.expected["va"], "rb") as expected:
            assert file.read(images.SIZE) == expected.read(images.SIZE)
        assert one.vm.state() != one.before
    wait_for(lambda: one.vm.state() == one.before, what="QEMU as before")
    assert inside.kind(point) == ""


@pytest.mark.parametrize("first, last", (("mnt", "other"), ("other", "mnt")))
def test_bound_elsewhere(tmp, inside, one, point, first, last):
    """Whoever unmounts one of two places waits for nothing, since the other
    one keeps the snapshots."""
    os.mkdir(f"{tmp}/other")
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    inside.good("mount", "--bind", point, f"{tmp}/other")
    inside.good("umount", f"{tmp}/{first}")
    assert inside.kind(f"{tmp}/{first}") == ""
    assert shown(inside, f"{tmp}/{last}") == one.sha("va")
    inside.good("umount.fleecefs", f"{tmp}/{last}")
    assert_gone(inside, one, point)


def test_through_a_link(tmp, inside, one, point):
    os.symlink("mnt", f"{tmp}/link")
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, f"{tmp}/link")
    assert inside.kind(point) == "fuse.fleecefs"
    inside.good("umount", f"{tmp}/link")
    assert_gone(inside, one, point)


def test_fake_and_verbose(inside, one, point):
    inside.good("mount", "-f", "-t", "fleecefs", one.vm.qmp_path, point)
    assert_gone(inside, one, point)
    done = inside.run("mount", "-v", "-n", "-t", "fleecefs",
                      one.vm.qmp_path, point)
    assert done.returncode == 0, done
    assert shown(inside, point) == one.sha("va")
    assert inside.run("umount", "-v", point).returncode == 0
    assert_gone(inside, one, point)


@pytest.mark.parametrize("command", (
    ("mount", "-t", "fleecefs"), ("mount", "-t", "fuse.fleecefs"),
    ("fleecefs",)))
@pytest.mark.parametrize("word, status", (
    ("disk=none", mount.MOUNT_FAILED), ("no_such", mount.USAGE)))
def test_failures(inside, one, point, command, word, status):
    """The status is mount(8)'s, and the reason is on its stderr."""
    done = inside.run(*command, "-o", word, one.vm.qmp_path, point)
    assert done.returncode == status, done
    assert "fleecefs: " in done.stderr
    assert ("VM web01" if status == mount.MOUNT_FAILED else word) \
        in done.stderr
    assert_gone(inside, one, point)


def test_in_the_background(inside, one, point):
    """The command returns when the mount stands; its pipes are let go."""
    for _ in range(3):
        inside.good("fleecefs", one.vm.qmp_path, point)
        assert inside.kind(point) == "fuse.fleecefs"
        assert shown(inside, point) == one.sha("va")
        for pid in daemons(point):
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            targets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)}
            assert targets == {"/dev/null"}
            assert os.getsid(pid) != os.getsid(0)
        inside.good("umount", point)
        assert_gone(inside, one, point)


def daemons(point):
    found = processes_of(point)
    assert found
    return found


def test_given_up(tmp, one, point):
    """Ctrl-C before the mount stands ends all of it."""
    with QmpProxy(f"{tmp}/web01-proxy.qmp", one.vm.qmp_path) as proxy:
        proxy.arm(Fault("hold", "block-export-add"))
        with subprocess.Popen([mount.binary(), proxy.path, point],
                              stderr=subprocess.PIPE, text=True) as start:
            wait_for(lambda: proxy.struck, what="the set-up")
            start.send_signal(signal.SIGINT)
            assert start.wait(DEADLINE) == mount.MOUNT_FAILED
            proxy.disarm()
            assert "before the mount stood" in start.stderr.read()
        wait_for(lambda: not processes_of(point), what="the end of all")
    assert point not in mounts_below(point)
    one.assert_as_before()


def test_many_descriptors(inside, one, point):
    """The soft limit is no limit."""
    inside.good("sh", "-c", f"ulimit -Sn 16; mount -t fleecefs "
                f"{one.vm.qmp_path} {point}")
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_closed_standard_files(inside, one, point):
    """Started with none of them open, as some supervisors do."""
    done = inside.run("sh", "-c", 'exec fleecefs "$@" <&- >&- 2>&-', "sh",
                      one.vm.qmp_path, point)
    assert done.returncode == 0
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_relative_words(tmp, inside, one, point):
    """Words that are relative still hold when the daemon has left for /."""
    done = inside.run("sh", "-c", 'cd "$1" && mkdir s && exec fleecefs '
                      "-o scratch=s,snapshot=mkdir web01.qmp mnt", "sh", tmp)
    assert (done.returncode, done.stderr) == (0, "")
    os.mkdir(inside.path(f"{point}/web01"))
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_killed_daemon_is_unmounted(inside, one, point):
    """kill -9: the guardian takes the mount and all else away."""
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    pid = int(os.getxattr(inside.path(point), "user.fleecefs.pid"))
    os.kill(pid, 9)
    wait_for(lambda: not processes_of(point), what="the guardian's end")
    assert_gone(inside, one, point)


def test_umount_of_a_stopped_vm(inside, one, point):
    """SIGSTOP of QEMU: umount still ends in time, and says nothing wrong;
    the guardian cleans up when QEMU goes on."""
    inside.good("mount", "-t", "fleecefs", "-o", "timeout=2",
                one.vm.qmp_path, point)
    one.vm.pause_process()
    try:
        done = inside.run("umount", point)
        assert done.returncode == 0, done
        assert inside.kind(point) == ""
    finally:
        one.vm.continue_process()
    wait_for(lambda: not processes_of(point), what="the guardian's end")
    one.assert_as_before()


def test_two_mountpoints(tmp, inside, one, point):
    """The second mount of a VM fails with 32; the first one lives on."""
    os.mkdir(f"{tmp}/second")
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    done = inside.run("mount", "-t", "fleecefs", one.vm.qmp_path,
                      f"{tmp}/second")
    assert done.returncode == mount.MOUNT_FAILED
    assert "has a snapshot" in done.stderr
    assert shown(inside, point) == one.sha("va")
    inside.good("umount", point)
    assert_gone(inside, one, point)


def test_umount_helper_alone(inside, one, point):
    """What it says of what is no mount, and of wrong words."""
    done = inside.run("umount.fleecefs", point)
    assert done.returncode == 32 and point in done.stderr
    assert inside.run("umount.fleecefs").returncode == 1
    inside.good("fleecefs", one.vm.qmp_path, point)
    inside.good("umount.fleecefs", point)
    assert_gone(inside, one, point)
    assert error_of(os.rmdir, inside.path(point)) == "none"
    assert subprocess.run(["test", "-e", point], check=False).returncode


def test_umount_where_the_helper_is_not_found(inside, one, point):
    """umount(8) then unmounts by itself, and just does not wait."""
    inside.good("mount", "-t", "fleecefs", one.vm.qmp_path, point)
    inside.good("umount", "/usr/sbin")
    inside.good("umount", point)
    wait_for(lambda: not processes_of(point), what="the daemon's end")
    assert_gone(inside, one, point)
