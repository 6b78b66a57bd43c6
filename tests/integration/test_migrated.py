# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM whose guest is in another QEMU, on its way here or gone there.

Its disks are the other's.  A snapshot would show what that writes, and the
export of a node has QEMU take the image and write what it has of it.
"""

import json

import pytest

import images
import refusal
from deadline import wait_for
from disk import Disk

K64 = 64 * images.KiB


@pytest.fixture(params=("raw", "qcow2"))
def couple(request, tmp, vm_factory):
    """Two QEMUs of one image, as on two hosts, with a lock on neither."""
    image = images.create(f"{tmp}/va.img", request.param)

    def start(name, *args):
        vm = vm_factory(name, args=[
            "-blockdev", json.dumps({"driver": "file", "node-name": "va-file",
                                     "filename": image, "locking": "off"}),
            "-blockdev", json.dumps({"driver": request.param,
                                     "node-name": "va-fmt",
                                     "file": "va-file"}),
            "-device", "virtio-blk-pci,drive=va-fmt,id=va", *args])
        vm.disks["va"] = Disk("va", image, request.param)
        return vm

    here = start("here")
    here.write("va", 0, K64, 0x11)
    return here, start("there", "-incoming", "defer")


def migrate(tmp, here, there):
    there.execute("migrate-incoming", {"uri": f"unix:{tmp}/way"})
    here.execute("migrate", {"uri": f"unix:{tmp}/way"})
    wait_for(lambda: here.execute("query-migrate")["status"] == "completed",
             what="the migration")
    wait_for(lambda: there.run_state() == "running", what="the guest there")


def read(path):
    with open(path, "rb") as file:
        return file.read(K64)


@pytest.mark.parametrize("method", ("filter", "job"))
def test_refused(tmp, couple, mount_factory, method):
    """At either end; where the guest is it works, before and after."""
    here, there = couple

    def mount(vm, name, **options):
        return mount_factory(vm.qmp_path, "timeout=5", f"method={method}",
                             "chain=nightly", name=name, **options)

    refusal.assert_refused(mount(there, "early", check=False), "VM there",
                           "inmigrate", "another QEMU")
    mount(here, "before").umount()
    migrate(tmp, here, there)
    gone = here.state()
    refusal.assert_refused(mount(here, "late", check=False), "VM here",
                           "postmigrate", "another QEMU")
    assert here.state() == gone
    mnt = mount(there, "after")
    there.write("va", 0, K64, 0x22)
    assert read(mnt.join("there", "va.raw")) == b"\x11" * K64
    mnt.umount()
    there.reads("va", 0, K64, 0x22)
    here.quit()
    there.quit()
    if there.disks["va"].fmt == "qcow2":
        images.check(f"{tmp}/va.img")
