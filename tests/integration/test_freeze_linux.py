# SPDX-License-Identifier: GPL-2.0-or-later
"""freeze= with the real agent, in a Linux that writes all the time."""

import shutil

import guest
import guest_copy
from deadline import wait_for
from linux_guest import LinuxGuest


def copy(mnt, tmp, name, disk="va"):
    """A copy of the disk; the guest goes on writing meanwhile."""
    path = f"{tmp}/{name}.raw"
    shutil.copyfile(mnt.join("web01", f"{disk}.raw"), path)
    return path


def frozen_copy(tmp, vm, mount_factory, agent, method):
    """A snapshot that needs no recovery, of a guest that goes on."""
    mnt = mount_factory(vm.qmp_path, "freeze=require", f"agent={agent}",
                        f"method={method}")
    status = mnt.vm_status("web01")
    assert status["frozen"] == 1 and not mnt.warnings(vm.name), status
    assert 0 < status["freeze_ms"] < 8000
    guest.wait_progress(vm, "va")
    path = copy(mnt, tmp, "frozen")
    mnt.umount()
    assert not guest_copy.needs_recovery(path)
    guest.wait_progress(vm, "va")
    return guest_copy.checked_ext4(path)


def test_ext4(tmp, vm_factory, mount_factory, need_tool):
    """A frozen snapshot is a clean filesystem; one that is not, is not."""
    for tool in ("mkfs.ext4", "e2fsck", "dumpe2fs", "debugfs", "apt-get"):
        need_tool(tool)
    agent = f"{tmp}/web01.agent"
    vm = LinuxGuest(tmp, vm_factory, {"va": "ext4"}, agent=agent).vm
    guest.wait_progress(vm, "va")
    counts = [frozen_copy(tmp, vm, mount_factory, agent, method)
              for method in ("filter", "job", "filter")]
    assert 0 < counts[0] < counts[1] < counts[2]

    def dirty():
        mnt = mount_factory(vm.qmp_path)
        path = copy(mnt, tmp, "plain")
        mnt.umount()
        return guest_copy.needs_recovery(path)

    wait_for(dirty, what="a snapshot that is not frozen to need recovery")
