# SPDX-License-Identifier: GPL-2.0-or-later
"""The images in which a job of libvirt's keeps old blocks."""

import contextlib
import os
import signal
import subprocess

import pytest

import files
from deadline import wait_for
from libvirtd import Libvirtd
from loopdisk import LoopDisk
from test_libvirt import drive
from test_libvirt_chain import CHAIN, night


@pytest.mark.parametrize("words", [[], [CHAIN]], ids=["full", "increment"])
def test_frozen_before_the_set_up(tmp, libvirt_cache, mount_factory, words):
    """Nothing is begun: a guest that is stopped would wait for it, too."""
    with contextlib.ExitStack() as stack:
        # before libvirtd, which sees no mount of later
        disk = stack.enter_context(LoopDisk(tmp))
        libvirt = stack.enter_context(Libvirtd(tmp, libvirt_cache))
        domain = libvirt.start("web01", [drive(tmp, "vda")])
        if words:
            night(mount_factory, libvirt)
        before = domain.state()
        mnt = mount_factory(libvirt.uri, f"scratch={disk.path}", "timeout=2",
                            "snapshot=mkdir", *words, name="frozen")
        with disk.frozen():
            assert files.error_of(os.mkdir, mnt.join("web01")) == "ETIMEDOUT"
            assert "does not answer" in mnt.vm_status("web01")["error"]
            assert domain.state() == before
        os.mkdir(mnt.join("web01"))
        os.rmdir(mnt.join("web01"))
        mnt.umount()
        assert domain.state() == before


@pytest.mark.parametrize("how", ["destroyed", "killed"])
def test_all_die(tmp, libvirt, mount_factory, how):
    """Nobody is left who would remove the old blocks of a guest."""
    scratch = f"{tmp}/scratch"
    os.mkdir(scratch)
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, f"scratch={scratch}")
    domain.write("vda", 0, 65536, 0x22)
    assert mnt.disk_status("web01", "vda")["scratch_bytes"] > 0
    mnt.kill()
    wait_for(lambda: not mnt.processes(), what="all to be dead")
    subprocess.run(["umount", "-l", mnt.path], check=True)
    if how == "killed":
        os.kill(domain.pid, signal.SIGKILL)
    else:
        domain.virsh("destroy")
    wait_for(lambda: domain.domstate().startswith("shut"), what="its end")
    assert not os.listdir(scratch)


def test_read_only(tmp, libvirt_cache, mount_factory):
    """What could not be made need not be removed."""
    scratch = f"{tmp}/scratch"
    os.mkdir(scratch)
    with contextlib.ExitStack() as stack:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none",
                        scratch], check=True)
        stack.callback(subprocess.run, ["umount", "-l", scratch], check=True)
        libvirt = stack.enter_context(Libvirtd(tmp, libvirt_cache))
        domain = libvirt.start("web01", [drive(tmp, "vda")])
        before = domain.state()
        mnt = mount_factory(libvirt.uri, f"scratch={scratch}",
                            "snapshot=mkdir")
        subprocess.run(["mount", "-o", "remount,ro", scratch], check=True)
        assert files.error_of(os.mkdir, mnt.join("web01")) == "EROFS"
        assert "undo" not in mnt.stderr(), mnt.stderr()
        mnt.umount()
        assert domain.state() == before
