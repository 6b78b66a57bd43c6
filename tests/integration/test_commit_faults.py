# SPDX-License-Identifier: GPL-2.0-or-later
"""A fault, or a death, at every QMP command of a commit.

Whatever happens, each disk has the old checkpoint or the new one, on all
disks alike, and the next increment misses nothing.
"""

import os
import signal

import pytest

import images
import scene
from deadline import wait_for
from files import error_of
from nights import Nights
from qmpproxy import Fault, QmpProxy

TWO = (("va", "qcow2", 4 * images.MiB), ("vb", "raw", 4 * images.MiB))


class Stage:
    """A VM behind a proxy, whose chain has a base."""

    def __init__(self, tmp, vm_factory, mount_factory, proxy):
        self.tmp, self.proxy = tmp, proxy
        self.mount_factory, self.lives = mount_factory, 0
        self.scene = scene.build(tmp, vm_factory, TWO, name="web01")
        self.vm = self.scene.vm
        proxy.target = self.vm.qmp_path

    def mount(self):
        """Another life of the daemon, behind the proxy."""
        self.lives += 1
        qmp, self.vm.qmp_path = self.vm.qmp_path, self.proxy.path
        nights = Nights(self.tmp, self.scene, self.mount_factory,
                        "name=web01", "timeout=5", name=f"mnt{self.lives}")
        self.vm.qmp_path = qmp
        return nights

    def checkpoints(self, nights):
        """Instants of the committed ones, which all disks share, and how
        many are pending."""
        names = [nights.checkpoints(disk) for disk in ("va", "vb")]
        instants = [[name.split(".")[2] for name in on_disk
                     if not name.endswith(".pending")] for on_disk in names]
        assert instants[0] == instants[1], names
        pending = sum(name.endswith(".pending") for name in sum(names, []))
        return instants[0], pending

    def next_increment_is_right(self, nights):
        """What was written before and after the commit is all there."""
        assert nights.update() == 0
        nights.assert_copied()


@pytest.fixture
def stage(tmp, vm_factory, mount_factory):
    with QmpProxy(f"{tmp}/proxy.qmp", "set by the stage") as proxy:
        yield Stage(tmp, vm_factory, mount_factory, proxy)


def commands_of_a_commit(stage, nights):
    """A night without a fault; the copies are right from here on."""
    nights.snapshot()
    assert nights.update() == 0
    stage.proxy.arm()
    nights.commit()
    commands = list(stage.proxy.log)
    nights.release()
    assert "transaction" in commands
    return commands


@pytest.mark.parametrize("kind", ("fail", "close", "close-after", "garbage",
                                  "swallow"))
def test_fault_at_every_command(stage, kind):
    """The commit says that it failed, or has worked; doing it again works."""
    nights = stage.mount()
    commands = commands_of_a_commit(stage, nights)
    for number in range(1, len(commands) + 1):
        stage.vm.write("va", number * 65536, 512, 0x10 + number)
        base, _ = stage.checkpoints(nights)
        instant = nights.snapshot()["instant"]
        stage.next_increment_is_right(nights)
        stage.vm.write("vb", number * 65536, 512, 0x20 + number)
        stage.proxy.arm(Fault(kind, number))
        assert error_of(nights.commit) != "none", (kind, number)
        assert stage.proxy.struck == 1
        stage.proxy.disarm()
        there, pending = stage.checkpoints(nights)
        assert (there, pending) in ((base, 2), ([instant], 0)), commands
        nights.commit()
        assert stage.checkpoints(nights) == ([instant], 0)
        nights.release()
        assert stage.checkpoints(nights) == ([instant], 0)
    nights.mnt.umount()


def test_killed_at_every_command(stage):
    """The daemon dies; the guardian drops what is pending still."""
    nights = stage.mount()
    commands = commands_of_a_commit(stage, nights)
    for number in range(1, len(commands) + 1):
        stage.vm.write("va", number * 65536, 512, 0x30 + number)
        base, _ = stage.checkpoints(nights)
        instant = nights.snapshot()["instant"]
        stage.next_increment_is_right(nights)
        die_at(stage, nights, number)
        there, pending = stage.checkpoints(nights)
        assert pending == 0 and there in (base, [instant])
        nights = stage.mount()
    nights.snapshot()
    assert nights.modes() == {"va": None, "vb": None}
    stage.next_increment_is_right(nights)
    nights.release()
    nights.mnt.umount()


def die_at(stage, nights, number):
    """kill -9 when a commit comes to this command."""
    def strike(count, _):
        if count == number:
            os.kill(nights.mnt.pid, signal.SIGKILL)

    stage.proxy.arm()
    stage.proxy.hook = strike
    assert error_of(nights.commit) != "none"
    wait_for(lambda: not nights.mnt.processes(), 60, "the end of all")
    stage.proxy.hook = None
