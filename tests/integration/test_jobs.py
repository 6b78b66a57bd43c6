# SPDX-License-Identifier: GPL-2.0-or-later
"""Block jobs of others, which see the guest's writes by a filter of theirs.

A job that copies a disk stands above it, and QEMU does not always say so: a
filter of ours that were put between the device and the disk would take its
place.  A mirror would miss what is written, and the guest would lose it when
the job is completed; a backup would abort QEMU 7.2 when it ends.
"""

import contextlib
import errno
import os

import pytest

import images
import refusal
import scene
from deadline import wait_for
from disk import Disk
from qmp import Qmp
from qmpproxy import QmpProxy

K64 = 64 * images.KiB
AT = 12 * images.MiB
SLOW = 65536


def mirror(vm):
    """What is written from the instant on when it is ready goes to both."""
    return "blockdev-mirror", {"device": "va-fmt", "target": target(vm),
                               "sync": "full", "copy-mode": "write-blocking"}


def named_mirror(vm):
    command, arguments = mirror(vm)
    return command, {**arguments, "filter-node-name": "theirs"}


def backup(vm):
    return "blockdev-backup", {"device": "va-fmt", "target": target(vm),
                               "sync": "full", "speed": SLOW}


def commit(_vm):
    """Of the layer on top, which the guest writes to."""
    return "block-commit", {"device": "va-fmt", "speed": SLOW}


def stream(_vm):
    return "block-stream", {"device": "va-fmt", "speed": SLOW}


JOBS = (mirror, named_mirror, backup, commit, stream)


def target(vm):
    path = images.create(f"{vm.directory}/target.img")
    vm.execute("blockdev-add", {"driver": "raw", "node-name": "target",
                                "file": {"driver": "file",
                                         "filename": path}})
    return "target"


def layered(tmp, vm_factory, disks=("va",), **options):
    """Disks with a backing file; the first MiB of each is data."""
    made = []
    for name in disks:
        base = images.create(f"{tmp}/{name}-base.img", "qcow2")
        images.write_patterns(base, "qcow2", [(0x11, 0, 4 * images.MiB)])
        made.append(Disk(name, images.create(
            f"{tmp}/{name}.img", "qcow2", backing=base), "qcow2"))
    return scene.of_disks(tmp, vm_factory, made, **options)


class Job:
    """A job of somebody else's, on va."""

    def __init__(self, one, kind):
        self.vm = one.vm
        command, arguments = kind(self.vm)
        self.vm.execute(command, {"job-id": "theirs-job", **arguments})

    def info(self):
        found = self.vm.execute("query-block-jobs")
        return found[0] if found else None

    def wait_ready(self):
        wait_for(lambda: self.info()["ready"], what="a job that is ready")

    def end(self):
        """Carried out to its end, as fast as it goes."""
        with contextlib.suppress(Exception):
            self.vm.execute("block-job-set-speed",
                            {"device": "theirs-job", "speed": 0})
        wait_for(self._may_end, what="a job that is ready, or ends itself")
        if self.info():     # ready, and waits to be told
            self.vm.execute("block-job-complete", {"device": "theirs-job"})
        wait_for(lambda: not self.info(), what="the job's end")
        with contextlib.suppress(Exception):
            self.vm.execute("blockdev-del", {"node-name": "target"})

    def _may_end(self):
        info = self.info()
        return not info or info["ready"]


def read(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(K64)


@pytest.mark.parametrize("method", ("filter", "job"))
@pytest.mark.parametrize("kind", JOBS, ids=lambda kind: kind.__name__)
def test_refused(tmp, vm_factory, mount_factory, kind, method):
    """While it runs; it gets all that is written, and so does the guest."""
    one = layered(tmp, vm_factory)
    job = Job(one, kind)
    if "mirror" in kind.__name__:
        job.wait_ready()
    root = one.vm.block_entry("va")["inserted"]["node-name"]
    mnt = mount_factory(one.vm.qmp_path, "timeout=5", f"method={method}",
                        check=False)
    one.vm.write("va", AT, K64, 0x77)
    assert one.vm.block_entry("va")["inserted"]["node-name"] == root
    refusal.assert_refused(mnt, "VM web01", "disk va", "theirs-job")
    job.end()
    one.vm.check_alive()
    one.vm.reads("va", AT, K64, 0x77)
    one.vm.reads("va", 0, images.MiB, 0x11)
    if kind is backup:
        assert read(f"{tmp}/target.img", AT) == bytes(K64)
    mount_factory(one.vm.qmp_path, f"method={method}", name="later").umount()


def test_other_disk(tmp, vm_factory, mount_factory):
    """A job on a disk that is left out is nobody's business."""
    two = layered(tmp, vm_factory, ("va", "vb"))
    job = Job(two, backup)
    mnt = mount_factory(two.vm.qmp_path, "disk=vb")
    two.overwrite_all("vb")
    two.assert_shown(mnt, "vb")
    mnt.umount()
    job.end()
    two.assert_as_before()


def test_begins_before_the_filter(tmp, vm_factory, mount_factory):
    """In the last moment: by another monitor, when the filter is made."""
    path = f"{tmp}/second"
    one = layered(tmp, vm_factory, args=[
        "-chardev", f"socket,id=second,path={path},server=on,wait=off",
        "-mon", "chardev=second,mode=control"])
    command, arguments = mirror(one.vm)

    def begin(_number, name):
        if name != "blockdev-add" or proxy.log.count(name) != 2:
            return
        with Qmp(path) as second:
            second.execute(command, {"job-id": "theirs-job", **arguments})

    with QmpProxy(f"{tmp}/web02.qmp", one.vm.qmp_path) as proxy:
        proxy.hook = begin
        mnt = mount_factory(proxy.path, "timeout=5", check=False)
    assert proxy.log.count("blockdev-add") == 2, proxy.log
    refusal.assert_refused(mnt, "VM web02", "disk va", "theirs-job")
    one.vm.write("va", AT, K64, 0x77)
    wait_for(lambda: one.vm.execute("query-block-jobs")[0]["ready"],
             what="a job that is ready")
    one.vm.write("va", AT + K64, K64, 0x78)
    one.vm.execute("block-job-complete", {"device": "theirs-job"})
    wait_for(lambda: not one.vm.execute("query-block-jobs"), what="its end")
    one.vm.reads("va", AT, K64, 0x77)
    one.vm.reads("va", AT + K64, K64, 0x78)


def test_begun_over_the_filter(tmp, vm_factory, mount_factory):
    """Ours cannot go as long as theirs stands on it; then it does."""
    one = layered(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    root = one.vm.block_entry("va")["inserted"]["node-name"]
    command, arguments = backup(one.vm)
    one.vm.execute(command, {"job-id": "theirs-job", **arguments,
                             "device": root})
    with pytest.raises(OSError) as refused:
        os.rmdir(mnt.join("web01"))
    assert refused.value.errno == errno.EBUSY
    one.vm.write("va", AT, K64, 0x77)
    one.vm.execute("block-job-set-speed", {"device": "theirs-job",
                                           "speed": 0})
    wait_for(lambda: not one.vm.execute("query-block-jobs"), what="its end")
    one.vm.execute("blockdev-del", {"node-name": "target"})
    assert read(f"{tmp}/target.img", AT) == bytes(K64)
    mnt.umount()
    wait_for(lambda: one.vm.state() == one.before, what="nothing of ours")
    one.vm.reads("va", AT, K64, 0x77)
