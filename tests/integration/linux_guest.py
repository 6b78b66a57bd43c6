# SPDX-License-Identifier: GPL-2.0-or-later
"""A small Linux that writes to its disks and runs qemu-guest-agent.

tests/guest/build makes it, once for each build directory.  Every disk has a
file system, on which the guest makes and removes directories; a number that
it counts up is synced to each in turn before the console shows it.
"""

import os
import re
import subprocess

import images
import mount
from deadline import wait_for
from disk import Disk

BUILD = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "guest", "build")
# TCG on a busy machine takes its time
BOOT_DEADLINE = 240
# what the guest says where fio or a file system has met an error
BAD = ("FAILED", "I/O error", "orruption", "Call Trace", "shutdown")
# mkfs.xfs takes no less
SIZES = {"ext4": 64 * images.MiB, "xfs": 320 * images.MiB}


def build():
    """The directory that has vmlinuz, initramfs and tools.img."""
    directory = os.path.dirname(os.path.dirname(mount.binary())) + "/guest"
    done = subprocess.run([BUILD, directory], capture_output=True, text=True,
                          check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def make_filesystem(kind, label, path):
    """A raw image with an empty file system."""
    with open(path, "wb") as file:
        file.truncate(SIZES[kind])
    force = "-F" if kind == "ext4" else "-f"
    subprocess.run([f"mkfs.{kind}", "-q", force, "-L", label, path],
                   check=True)
    # mkfs.xfs writes the zeros of its log
    subprocess.run(["fallocate", "--dig-holes", path], check=True)
    return path


def command_line(filesystems):
    """Of the kernel, which finds the file systems by their labels."""
    where = " ".join(
        f"{kind}=" + ",".join(label for label, its in filesystems.items()
                              if its == kind)
        for kind in SIZES)
    return ("console=ttyS0 quiet nokaslr mitigations=off no_timer_check "
            f"tsc=reliable panic=-1 {where}")


class Console:
    """What a guest says on its serial port; a file."""

    def __init__(self, path, check_alive):
        self.console, self.check_alive = path, check_alive

    def wait_ready(self):
        """Wait until it has booted, and has begun to count."""
        wait_for(lambda: self.said(r"guest: ready"), BOOT_DEADLINE,
                 "the guest's boot")
        self.wait_count(1)

    def said(self, pattern):
        """Every match of a line of the console, oldest first.

        A guest that has ended, or that has found an error, fails.
        """
        self.check_alive()
        with open(self.console, encoding="utf-8", errors="replace") as file:
            lines = file.read()
        assert not any(word in lines for word in BAD), lines[-2000:]
        return re.findall(rf"^{pattern}\r?$", lines, re.M)

    def acknowledged(self):
        """The newest number that the console shows; 0 before the first."""
        return max(map(int, self.said(r"count (\d+)")), default=0)

    def wait_count(self, more, deadline=BOOT_DEADLINE):
        """Wait until the guest has counted that much further."""
        start = self.acknowledged()
        wait_for(lambda: self.acknowledged() >= start + more, deadline,
                 f"{more} counts after {start}")

    def wait_verified(self, deadline=BOOT_DEADLINE):
        """Wait until fio has begun anew, and ended well."""
        start = len(self.said(r"guest: verified \d+"))
        wait_for(lambda: len(self.said(r"guest: verified \d+")) >= start + 2,
                 deadline, "fio")


class LinuxGuest(Console):
    """The VM, with a disk for each of its file systems.

    filesystems maps a disk's id, which is the file system's label, to
    "ext4" or "xfs"; disks whose names begin with s are virtio-scsi's.  With
    verify, fio writes to each file system and reads it again.
    """

    def __init__(self, tmp, vm_factory, filesystems, name="web01",
                 agent=None, verify=False, iothread=False):
        self.filesystems = dict(filesystems)
        super().__init__(f"{tmp}/{name}.console",
                         lambda: self.vm.check_alive())
        disks = [Disk(label, make_filesystem(
                     kind, label, f"{tmp}/{name}-{label}.img"),
                      attachment="virtio-" + ("scsi" if label[0] == "s"
                                              else "blk"), iothread=iothread)
                 for label, kind in self.filesystems.items()]
        made = build()
        if verify:
            disks.append(Disk("tools", f"{made}/tools.img", read_only=True))
        self.vm = vm_factory(name, disks, memory="256M", args=(
            *self._boot(made), *(_agent_port(agent) if agent else ())))
        self.wait_ready()

    def _boot(self, made):
        return ("-kernel", f"{made}/vmlinuz", "-initrd", f"{made}/initramfs",
                "-append", command_line(self.filesystems),
                "-no-reboot", "-serial", f"file:{self.console}")


def _agent_port(agent):
    return ("-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,"
            "name=org.qemu.guest_agent.0")
