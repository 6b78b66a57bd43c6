# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt waits for a QEMU that hangs without a limit; nobody of ours does.

And what we have stopped goes on, whoever dies meanwhile.
"""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import files
import fleecectl
from deadline import wait_for
from libvirtd import VirshError
from test_libvirt import drive, read
from test_libvirt_chain import CHAIN, night


def wait_as_before(domain, before):
    """Wait until nothing of ours is left."""
    wait_for(lambda: domain.state() == before, what="all to be undone")


def test_qemu_hangs_at_the_instant(tmp, libvirt, mount_factory):
    """An error in time; when it is back, nothing of ours happens to it."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    libvirt.start("db01", [drive(tmp, "vdb")])
    night(mount_factory, libvirt, "vm=web01")
    before = domain.state()
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir", "timeout=3", CHAIN,
                        name="hang")
    os.kill(domain.pid, signal.SIGSTOP)
    try:
        assert files.error_of(os.mkdir, mnt.join("web01")) == "ETIMEDOUT"
        os.mkdir(mnt.join("db01"))
        os.rmdir(mnt.join("db01"))
    finally:
        os.kill(domain.pid, signal.SIGCONT)
    wait_as_before(domain, before)
    os.mkdir(mnt.join("web01"))
    assert len(read(mnt.join("web01", "vda.raw"))) > 0
    os.rmdir(mnt.join("web01"))
    wait_as_before(domain, before)
    mnt.umount()
    assert domain.state() == before


def hang_in_the_midst(domain, directory, scratch):
    """Have the snapshot made, and QEMU hang from when its scratch is there;
    the errno.  Where it is there already, again."""
    with ThreadPoolExecutor(1) as maker:
        while True:
            made = maker.submit(files.error_of, os.mkdir, directory)
            wait_for(lambda m=made: os.listdir(scratch) or m.done(),
                     what="the scratch")
            os.kill(domain.pid, signal.SIGSTOP)
            if made.result() != "none":
                return made.result()
            os.kill(domain.pid, signal.SIGCONT)
            os.rmdir(directory)


def test_qemu_hangs_while_the_job_is_begun(tmp, libvirt, mount_factory):
    """libvirt goes on with it when QEMU is back, and finds what it needs: a
    job that cannot be begun can cost libvirtd's life.  Then it is undone."""
    domain = libvirt.start("web01", [drive(tmp, f"vd{letter}")
                                     for letter in "abcd"])
    before = domain.state()
    scratch = f"{tmp}/scratch"
    os.mkdir(scratch)
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir", "timeout=2",
                        f"scratch={scratch}")
    try:
        assert hang_in_the_midst(domain, mnt.join("web01"),
                                 scratch) == "ETIMEDOUT"
    finally:
        os.kill(domain.pid, signal.SIGCONT)
    wait_as_before(domain, before)
    wait_for(lambda: not os.listdir(scratch), what="the scratch to go")
    os.mkdir(mnt.join("web01"))
    os.rmdir(mnt.join("web01"))
    mnt.umount()
    assert domain.state() == before
    said = libvirt.said()
    assert "Failed to bind socket" not in said
    assert "Could not open" not in said


def test_qemu_hangs_under_a_snapshot(tmp, libvirt, mount_factory):
    """Reads end, the mount can be taken away, and what is left goes when
    QEMU is back: the guardian waits for it."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    domain.write("vda", 0, 65536, 0x11)
    before = domain.state()
    mnt = mount_factory(libvirt.uri, "timeout=2", "read_timeout=2", CHAIN)
    os.kill(domain.pid, signal.SIGSTOP)
    try:
        assert files.error_of(read, mnt.join("web01", "vda.raw")) == "EIO"
        subprocess.run(["umount", mnt.path], check=True)
        wait_for(lambda: mnt.returncode is not None, what="the daemon's end")
    finally:
        os.kill(domain.pid, signal.SIGCONT)
    wait_as_before(domain, before)
    mnt.wait_gone()


def test_job_lock_is_held_by_another(tmp, libvirt, mount_factory):
    """libvirt gives up a call after 30 seconds, and says why; no other is made,
    and nothing is undone that was not made."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    os.kill(domain.pid, signal.SIGSTOP)
    holder = subprocess.Popen(
        ["virsh", "-c", libvirt.uri, "qemu-monitor-command", "web01",
         '{"execute":"query-status"}'], stdout=subprocess.DEVNULL)
    try:
        mnt = mount_factory(libvirt.uri, "snapshot=mkdir")
        assert files.error_of(os.mkdir, mnt.join("web01")) == "EBUSY"
        error = mnt.vm_status("web01")["error"]
        assert "libvirt: job: " in error and "state change lock" in error
        assert "undo" not in mnt.stderr(), mnt.stderr()
    finally:
        os.kill(domain.pid, signal.SIGCONT)
    assert holder.wait(60) == 0
    assert domain.job() == "None"
    mnt.umount()


def is_stopped_by_us(domain):
    """Whether the guest stands still; quickly: it will not for long."""
    try:
        return domain.domstate().startswith("paused")
    except VirshError:
        return False


@pytest.mark.parametrize("guardian", [False, True], ids=["daemon", "both"])
def test_killed_while_the_guest_is_stopped(tmp, libvirt, mount_factory,
                                           guardian):
    """It goes on: by the guardian, or by whoever comes next."""
    domain = libvirt.start("web01", [drive(tmp, f"vd{letter}")
                                     for letter in "abcdefgh"])
    night(mount_factory, libvirt)
    before = domain.state()
    mnt = mount_factory(libvirt.uri, CHAIN, "snapshot=mkdir", name="killed")
    maker = subprocess.Popen(["mkdir", mnt.join("web01")],
                             stderr=subprocess.DEVNULL)
    wait_for(lambda: is_stopped_by_us(domain), what="the pause")
    mnt.kill(guardian)
    maker.wait(60)
    wait_for(lambda: not mnt.processes(), what="the end of all")
    subprocess.run(["umount", "-l", mnt.path], check=False,
                   stderr=subprocess.DEVNULL)
    if guardian:
        done = fleecectl.run(tmp, "recover", libvirt.uri)
        assert done.returncode == 0, done.stderr
        assert "undoing what a dead fleecefs" in done.stderr
    wait_as_before(domain, before)
    assert domain.domstate().startswith("running")
