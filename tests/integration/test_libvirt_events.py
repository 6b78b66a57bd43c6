# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens while a snapshot of a domain stands, read or with a chain."""

import os
import signal
import subprocess
import threading

import pytest

import files
import images
from deadline import wait_for
from test_libvirt import SIZE, drive, read, wait_broken
from test_libvirt_chain import CHAIN, K64, night


class Reader(threading.Thread):
    """Reads a disk again and again until it fails; a context manager."""

    def __init__(self, path, expected):
        super().__init__(daemon=True)
        self.path, self.expected = path, expected
        self.rounds, self.error, self.wrong = 0, None, 0
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        self.wait_progress()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join(60)
        assert not self.is_alive()

    def run(self):
        while not self.over.is_set() and not self.error:
            try:
                self.wrong += read(self.path) != self.expected
                self.rounds += 1
            except OSError as error:
                self.error = error

    def wait_progress(self, more=3):
        """So many reads more, none of them wrong."""
        start = self.rounds
        wait_for(lambda: self.error or self.rounds >= start + more,
                 what="reads")
        assert not self.error and not self.wrong, (self.error, self.wrong)


@pytest.fixture
def web01(tmp, libvirt):
    """A domain with some data on its disk."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    domain.write("vda", 0, K64, 0x11)
    return domain


CONTENT = b"\x11" * K64 + bytes(SIZE - K64)


def break_by_scratch(mnt, domain):
    domain.write("vda", 4 * images.MiB, 2 * images.MiB, 0x22)
    wait_broken(mnt)
    return "ESTALE"


def break_by_abort(mnt, domain):
    domain.virsh("domjobabort")
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone",
             what="the end to be seen")
    return "EIO"


def _without_busy(said):
    return said != "EBUSY" and said


@pytest.mark.parametrize("happens", (break_by_scratch, break_by_abort))
def test_broken_night(tmp, libvirt, web01, mount_factory, happens):
    """It cannot be committed, and the next has all since the base."""
    web01.write("vda", 4 * images.MiB, 2 * images.MiB, 0x21)
    night(mount_factory, libvirt)
    base = web01.checkpoints()
    web01.write("vda", 2 * K64, K64, 0x33)
    mnt = mount_factory(libvirt.uri, CHAIN, "scratch_limit=1M",
                        f"scratch={tmp}", name="broken")
    errno = happens(mnt, web01)
    said = wait_for(lambda: _without_busy(files.error_of(
        mnt.control, "commit web01")), what="the job to be taken away")
    assert said == errno
    mnt.umount()
    assert web01.checkpoints() == base
    assert web01.domstate().startswith("running")
    web01.write("vda", 8 * K64, K64, 0x44)
    reasons, dirty = night(mount_factory, libvirt)
    assert reasons == {"vda": None}
    assert {(2 * K64, 3 * K64), (8 * K64, 9 * K64)} <= set(dirty["vda"])


def test_libvirtd_restarts_under_a_chain(libvirt, web01, mount_factory):
    """The night is committed with the new one."""
    night(mount_factory, libvirt)
    web01.write("vda", 2 * K64, K64, 0x33)

    def restart(_mnt):
        libvirt.stop_daemon(signal.SIGKILL)
        libvirt.start_daemon()

    assert night(mount_factory, libvirt, change=restart) == (
        {"vda": None}, {"vda": [(2 * K64, 3 * K64)]})
    assert night(mount_factory, libvirt)[1] == {"vda": []}


def test_killed_daemon_under_a_reader(libvirt, web01, mount_factory):
    """Its read ends with an error, and the guardian cleans up."""
    before = web01.state()
    mnt = mount_factory(libvirt.uri)
    with Reader(mnt.join("web01", "vda.raw"), CONTENT) as reader:
        mnt.kill(guardian=False)
        wait_for(lambda: reader.error, what="the reader's end")
    assert not reader.wrong
    wait_for(lambda: web01.state() == before, what="all to be undone")
    wait_for(lambda: not mnt.processes(), what="the guardian's end")


def test_plugged_in_under_a_reader(tmp, libvirt, web01, mount_factory):
    """The reader does not notice."""
    mnt = mount_factory(libvirt.uri)
    late = drive(tmp, "vdc")
    with Reader(mnt.join("web01", "vda.raw"), CONTENT) as reader:
        web01.virsh("attach-disk", late.image, "vdc", "--driver", "qemu",
                    "--subdriver", "qcow2", "--live")
        web01.write("vda", 0, K64, 0x44)
        reader.wait_progress()
    assert not os.path.exists(mnt.join("web01", "vdc.raw"))
    mnt.umount()


class hanging:
    """A context manager: libvirtd stands still meanwhile."""

    def __init__(self, libvirt):
        self.pid = libvirt.process.pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *exc):
        os.kill(self.pid, signal.SIGCONT)


def test_libvirtd_hangs_at_the_set_up(libvirt, web01, mount_factory):
    """An error in time, and nothing of ours happens later."""
    before = web01.state()
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir", "timeout=2", CHAIN)
    with hanging(libvirt):
        assert files.error_of(os.mkdir, mnt.join("web01")) == "ETIMEDOUT"
        assert mnt.vm_status("web01")["error"]
    wait_for(lambda: web01.state() == before, what="nothing of ours")
    wait_for(lambda: files.error_of(os.mkdir, mnt.join("web01")) in (
        "none", "EEXIST"), what="a snapshot once it is back")
    assert read(mnt.join("web01", "vda.raw")) == CONTENT
    mnt.umount()
    assert web01.state() == before


def test_libvirtd_hangs_under_a_reader(libvirt, web01, mount_factory):
    """QEMU serves the disks; the mount goes, and what is left goes later."""
    before = web01.state()
    mnt = mount_factory(libvirt.uri, "timeout=2")
    with hanging(libvirt):
        with Reader(mnt.join("web01", "vda.raw"), CONTENT) as reader:
            reader.wait_progress()
        subprocess.run(["umount", mnt.path], check=True)
        wait_for(lambda: mnt.returncode is not None, what="the daemon's end")
    wait_for(lambda: web01.state() == before, what="all to be undone")
    mnt.wait_gone()


def test_libvirtd_hangs_at_the_commit(libvirt, web01, mount_factory):
    """An error in time; the night can be committed when it is back."""
    mnt = mount_factory(libvirt.uri, "timeout=2", CHAIN)
    with hanging(libvirt):
        assert files.error_of(mnt.control, "commit web01") == "ETIMEDOUT"
    wait_for(lambda: files.error_of(mnt.control, "commit web01") == "none",
             what="the commit")
    mnt.umount()
    assert night(mount_factory, libvirt) == ({"vda": None}, {"vda": []})


def test_qemu_creates_no_image(tmp, libvirt, mount_factory):
    """A blockdev-create keeps the guest of an increment waiting, and a reset or
    a stop under it aborts QEMU 7.2."""
    domain = libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir")
    with open(f"{tmp}/events", "w+", encoding="utf-8") as events, \
            subprocess.Popen(["virsh", "-c", libvirt.uri, "qemu-monitor-event",
                              domain.name, "--loop"], stdout=events) as virsh:

        def job_was_seen():
            os.mkdir(mnt.join("web01"))
            os.rmdir(mnt.join("web01"))
            events.seek(0)
            return "backup-vda" in events.read()

        try:
            wait_for(job_was_seen, what="a job to be told of")
            events.seek(0)
            assert "create-libvirt" not in events.read()
        finally:
            virsh.kill()
    mnt.umount()
