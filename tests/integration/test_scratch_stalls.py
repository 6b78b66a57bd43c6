# SPDX-License-Identifier: GPL-2.0-or-later
"""Scratch that hangs or fails: the guest goes on, and no byte is wrong.

Whoever has QEMU wait for a write to scratch that hangs has the guest wait,
too.  That is why a snapshot is not taken out of QEMU, and nothing else is
asked of it, before the scratch answers again.
"""

import os
import subprocess
import threading

import pytest

import images
import mount
import scene
from deadline import wait_for
from files import error_of, read_at
from loopdisk import LoopDisk

KiB, MiB = images.KiB, images.MiB
TWO = (("va", "raw", 8 * MiB), ("vb", "qcow2", 4 * MiB))
DATA = ((0x21, 0, 4 * MiB),)
NO_ANSWER = "does not answer"


@pytest.fixture
def disk(tmp):
    with LoopDisk(tmp) as one:
        yield one


@pytest.fixture
def two(tmp, vm_factory):
    """Its first bytes are data: no read of them is answered by a map."""
    return scene.build(tmp, vm_factory, TWO, patterns=DATA)


def broken(mnt):
    """Why the snapshot is broken, when it is."""
    wait_for(lambda: mnt.vm_status("web01")["state"] == "broken",
             what="the break")
    return mnt.vm_status("web01")["why"]


def taken_out(one):
    wait_for(lambda: one.vm.state() == one.before, what="QEMU as before")


def when_idle(call, *args):
    """Its error in a moment in which nobody takes the snapshot out."""
    def error():
        found = error_of(call, *args)
        return None if found == "EBUSY" else found

    return wait_for(error, what="a moment in which nobody tries")


def hangs_in_qemu(vm):
    """Whether a thread of QEMU's waits for the frozen filesystem."""
    found = []
    for task in os.listdir(f"/proc/{vm.pid}/task"):
        with open(f"/proc/{vm.pid}/task/{task}/wchan",
                  encoding="ascii") as file:
            found.append(file.read())
    return "percpu_rwsem_wait" in found


def assert_guest_goes_on(vm, pattern):
    """QEMU answers, the guest runs, and its writes succeed."""
    assert vm.run_state() == "running"
    vm.write("va", 4 * MiB, MiB, pattern)
    vm.reads("va", 4 * MiB, MiB, pattern)


def test_frozen(tmp, two, mount_factory, disk):
    """A write waits for cbw_timeout, then the snapshot is given up."""
    mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}", "discard",
                        "method=filter", "cbw_timeout=1", "timeout=2",
                        "chain=nightly")
    two.vm.write("va", 0, 64 * KiB, 0x31)
    two.assert_shown(mnt)
    with disk.frozen():
        assert_guest_goes_on(two.vm, 0x32)
        assert error_of(read_at, two.file(mnt, "va"), MiB, 512) == "ESTALE"
        assert "too slow" in broken(mnt)
        assert hangs_in_qemu(two.vm)
        wait_for(lambda: NO_ANSWER in (mnt.vm_status("web01")["error"] or ""),
                 what="word that scratch hangs")
        assert_guest_goes_on(two.vm, 0x33)
        assert when_idle(mnt.control, "commit web01") == "ESTALE"
        when_idle(os.rmdir, mnt.join("web01"))
        assert not os.path.exists(mnt.join("web01"))
        assert NO_ANSWER in mnt.vm_status("web01")["error"]
        assert error_of(os.mkdir, mnt.join("web01")) == "ETIMEDOUT"
        assert_guest_goes_on(two.vm, 0x34)
        assert hangs_in_qemu(two.vm)
    os.mkdir(mnt.join("web01"))
    assert mnt.vm_status("web01")["state"] == "live"
    assert read_at(two.file(mnt, "va"), 4 * MiB, 512) == b"\x34" * 512
    two.vm.write("va", 4 * MiB, MiB, 0x35)
    assert read_at(two.file(mnt, "va"), 4 * MiB, 512) == b"\x34" * 512
    mnt.umount()
    two.assert_as_before()


def test_frozen_and_thawed(tmp, two, mount_factory, disk):
    """What broke is taken out as soon as that costs the guest nothing; and
    of a snapshot that did not break nothing is missing."""
    mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}", "discard",
                        "method=filter", "cbw_timeout=1", "timeout=2")
    with disk.frozen():
        two.assert_shown(mnt)
    two.vm.write("va", 0, 64 * KiB, 0x41)
    two.assert_shown(mnt)
    with disk.frozen():
        assert_guest_goes_on(two.vm, 0x42)
        assert error_of(read_at, two.file(mnt, "va"), MiB, 512) == "ESTALE"
        broken(mnt)
    taken_out(two)
    assert_guest_goes_on(two.vm, 0x43)
    mnt.umount()


def test_unmounted_while_frozen(tmp, two, mount_factory, disk):
    """The daemon ends; the guardian waits with what is in QEMU."""
    mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}", "discard",
                        "method=filter", "cbw_timeout=1", "timeout=2")
    with disk.frozen():
        assert_guest_goes_on(two.vm, 0x51)
        subprocess.run(["umount", mnt.path], check=True, timeout=60)
        wait_for(lambda: mnt.returncode is not None, what="the daemon's end")
        assert mnt.returncode == 0 and not mnt.mounted(), mnt.report()
        assert NO_ANSWER in mnt.stderr()
        assert mnt.processes(), "no guardian"
        assert two.vm.state() != two.before
        assert_guest_goes_on(two.vm, 0x52)
        assert hangs_in_qemu(two.vm)
        refused = mount_factory(two.vm.qmp_path, f"scratch={disk.path}",
                                "timeout=1", check=False, name="other")
        assert refused.returncode == mount.MOUNT_FAILED, refused.report()
    mnt.wait_gone()
    two.assert_as_before()
    assert_guest_goes_on(two.vm, 0x53)


def test_frozen_before_the_set_up(tmp, two, mount_factory, disk):
    with disk.frozen():
        mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}",
                            "timeout=1", check=False)
        assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
        assert f"scratch={disk.path} {NO_ANSWER}" in mnt.stderr()
        two.assert_as_before()


def test_frozen_under_a_job(tmp, two, mount_factory, disk):
    """This method has no time limit: the guest's write waits, and is then
    carried out; the snapshot stands."""
    mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}", "discard",
                        "method=job")
    done = threading.Event()

    def write():
        two.vm.write("va", 4 * MiB, MiB, 0x61)
        done.set()

    with disk.frozen():
        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: hangs_in_qemu(two.vm), what="a write that waits")
        assert not done.is_set()
    writer.join(60)
    assert done.is_set()
    two.vm.reads("va", 4 * MiB, MiB, 0x61)
    two.assert_shown(mnt)
    mnt.umount()
    two.assert_as_before()


def scratch_in_qemu(vm):
    """QEMU's descriptors of files without a name, as paths."""
    base = f"/proc/{vm.pid}/fd"
    return [f"{base}/{fd}" for fd in os.listdir(base)
            if "/loop/#" in os.readlink(f"{base}/{fd}")]


def forget_pages(path):
    """Have the kernel drop what it need not keep in memory of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def test_what_cannot_be_stored(tmp, two, mount_factory):
    """QEMU is told nothing of it, and would show what is on the device."""
    with LoopDisk(tmp, room=MiB) as disk:
        mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}",
                            "discard", "method=filter", "scratch_reserve=0")
        two.overwrite_all("va", 0x71)
        two.assert_shown(mnt)
        assert mnt.vm_status("web01")["state"] == "live"
        subprocess.run(["sync", "-f", disk.path], check=False,
                       capture_output=True)
        for path in scratch_in_qemu(two.vm):
            forget_pages(path)
        wrong = [path for path in scratch_in_qemu(two.vm)
                 if not read_at(path, 0, MiB).strip(b"\0")]
        assert wrong, "the control: nothing was lost"
        assert error_of(images.sha256, two.file(mnt, "va")) == "ESTALE"
        assert "could not be stored" in broken(mnt)
        taken_out(two)
        assert_guest_goes_on(two.vm, 0x72)
        mnt.umount()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_fails(tmp, two, mount_factory, method):
    """A copy that fails breaks the snapshot of a filter.  A job before QEMU
    10.1 has the guest's write fail: the manual warns of it."""
    with LoopDisk(tmp, room=MiB, sync=True) as disk:
        mnt = mount_factory(two.vm.qmp_path, f"scratch={disk.path}",
                            "discard", f"method={method}",
                            "scratch_reserve=0", "scratch_limit=1G")
        if method == "filter" or two.vm.version >= (10, 1):
            two.overwrite_all("va", 0x81)
            assert error_of(images.sha256,
                            two.file(mnt, "va")) == "ESTALE"
            broken(mnt)
            taken_out(two)
        else:
            with pytest.raises(AssertionError, match="Input/output"):
                two.overwrite_all("va", 0x81)
            two.assert_shown(mnt)
        mnt.umount()
        two.assert_as_before()
        assert two.vm.run_state() == "running"
