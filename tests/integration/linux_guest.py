# SPDX-License-Identifier: GPL-2.0-or-later
"""A small Linux that writes to an ext4 disk and runs qemu-guest-agent.

tests/guest/build makes it, once for each build directory.
"""

import os
import subprocess

import images
import mount
from deadline import wait_for
from disk import Disk

BUILD = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "guest", "build")
# TCG on a busy machine takes its time
BOOT_DEADLINE = 240
SIZE = 64 * images.MiB


def build():
    """The directory that has vmlinuz and initramfs."""
    directory = os.path.dirname(os.path.dirname(mount.binary())) + "/guest"
    done = subprocess.run([BUILD, directory], capture_output=True, text=True,
                          check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def start(tmp, vm_factory, agent, name="web01"):
    """The VM, whose agent listens at the path agent, once it writes."""
    made, disk = build(), f"{tmp}/{name}-va.img"
    console = f"{tmp}/{name}.console"
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    vm = vm_factory(name, [Disk("va", disk)], memory="192M", args=(
        "-kernel", f"{made}/vmlinuz", "-initrd", f"{made}/initramfs",
        "-append", "console=ttyS0 quiet nokaslr mitigations=off "
        "no_timer_check tsc=reliable panic=-1", "-no-reboot",
        "-serial", f"file:{console}", "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,"
        "name=org.qemu.guest_agent.0"))

    def ready():
        vm.check_alive()
        with open(console, encoding="utf-8", errors="replace") as file:
            return "guest: ready" in file.read()

    wait_for(ready, BOOT_DEADLINE, "the guest's boot")
    return vm


def needs_recovery(image):
    """Whether the ext4 of an image was in use: its journal has the truth."""
    said = subprocess.run(["dumpe2fs", "-h", image], check=True, text=True,
                          capture_output=True).stdout
    return "needs_recovery" in said


def check_filesystem(image):
    """Assert that it is sound as it is, without its journal."""
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True,
                          text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "recovery" not in said, said


def count(image):
    """How many files the guest had written."""
    said = subprocess.run(["debugfs", "-R", "cat /count", image], check=True,
                          capture_output=True, text=True).stdout
    return int(said)
