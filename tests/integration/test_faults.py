# SPDX-License-Identifier: GPL-2.0-or-later
"""A fault at every single QMP command of set-up and teardown in turn.

A clean run through the proxy says how many commands there are; then each of
them meets each kind of fault.  Whatever happens, QEMU is as it was before and
a guest that ran runs.

A refusal meets every fourth command (with a storage daemon, which has no guest
that could be left standing, every twelfth), the other faults every twelfth,
each kind and each way to a snapshot beginning at another; all meet every
command where FLEECEFS_TESTS_FULL is set.
"""

import os
import signal
import subprocess

import pytest

import images
import mount
import scene
from deadline import DeadlinePassed, wait_for
from proxmox import ProxmoxProxy
from qmpproxy import Fault

TWO = (("va", "qcow2", 4 * images.MiB), ("vb", "raw", 4 * images.MiB))
FULL = bool(os.environ.get("FLEECEFS_TESTS_FULL"))
# swallow costs a time limit each, so it comes only where it matters most
EVERYWHERE = ("fail", "close", "close-after", "garbage")
PAUSE = ("stop", "qom-set drive", "cont", "transaction", "blockdev-add",
         "nbd-server-start", "block-export-add", "object-add",
         "qom-set identity")


# method, paused, iothread, storage daemon
STAGES = {"filter": ("filter", False, False, False),
          "filter-paused": ("filter", True, False, False),
          "filter-iothread": ("filter", False, True, False),
          "job": ("job", False, False, False),
          "access": ("access", False, False, False),
          "daemon": ("job", False, False, True)}


def numbers(stage, total, kind):
    """The numbers of the commands, from 1, that this kind of fault meets:
    others on each stage."""
    if FULL:
        return range(1, total + 1)
    step = 4 if kind == "fail" and stage.name != "daemon" else 12
    turn = list(STAGES).index(stage.name)
    return range(1 + (turn + 4 * (len(kind) % 3)) % step, total + 1, step)


class Stage:
    """A VM behind a proxy, with a chain that has a base."""

    def __init__(self, tmp, proxy, name, fixture):
        self.tmp, self.proxy, self.name = tmp, proxy, name
        self.method, paused, iothread, daemon = STAGES[name]
        disks = TWO[:1] if self.method == "access" else TWO
        self.scene = (
            scene.build_served(tmp, fixture("daemon_factory"), disks)
            if daemon else
            scene.build(tmp, fixture("vm_factory"), disks,
                        disk_options={"iothread": iothread}))
        self.unsafe = "unsafe_qemu" if daemon else ""
        proxy.target = self.scene.vm.qmp_path
        with self.mount() as mnt:
            mnt.control("commit proxy")
            mnt.umount()
        self.scene.before = self.scene.vm.state()
        self.paused = paused
        if paused:
            self.scene.vm.execute("stop")
            self.scene.before = self.scene.vm.state()

    def mount(self, timeout=15):
        """A mount through the proxy that may fail."""
        return mount.Mount(self.tmp, self.proxy.path, f"timeout={timeout}",
                           f"method={self.method}", "chain=nightly",
                           self.unsafe, check=False)

    def as_before(self):
        """Wait until the guardian, too, has done what is to be done."""
        if self.paused:
            self._expect(without=("fdsets", "open-files"))
            self._let_fdsets_go()
        self._expect()

    def _let_fdsets_go(self):
        """QEMU 7.2 keeps a removed fd set until it runs and a monitor goes."""
        self.scene.vm.execute("cont")
        self.scene.vm.execute("stop")

    def _expect(self, without=()):
        def same():
            return (self._picture(self.scene.vm.state(), without)
                    == self._picture(self.scene.before, without))

        try:
            wait_for(same, 30, f"QEMU as before, after {self.proxy.log}")
        except DeadlinePassed:
            assert (self._picture(self.scene.vm.state(), without)
                    == self._picture(self.scene.before, without))

    @staticmethod
    def _picture(state, without):
        return {key: value for key, value in state.items()
                if key not in without}

    def setup_commands(self):
        """The commands of a set-up without a fault."""
        self.proxy.arm()
        with self.mount() as mnt:
            assert mnt.mounted(), mnt.report()
            commands = list(self.proxy.log)
            mnt.umount()
        self.as_before()
        return commands


@pytest.fixture
def proxy(tmp):
    with ProxmoxProxy(f"{tmp}/proxy.qmp", "set by the stage") as one:
        yield one


@pytest.fixture(params=STAGES)
def stage(request, tmp, proxy):
    yield Stage(tmp, proxy, request.param, request.getfixturevalue)


def fail_once(stage, fault, **how):
    """One set-up that meets the fault: refused in one clear line."""
    stage.proxy.arm(fault)
    with stage.mount(**how) as mnt:
        wait_for(lambda: mnt.returncode is not None, what="the refusal")
        assert stage.proxy.struck == 1, (fault, mnt.report())
        assert mnt.returncode == mount.MOUNT_FAILED, (fault, mnt.report())
        said = mnt.stderr().splitlines()
        mine = [line for line in said if "fleecefs: VM proxy: " in line]
        assert mine and not mnt.mounted(), (fault, mnt.report())
        if fault.kind == "fail":
            assert "injected by the test" in mine[-1], (fault, said)
    stage.as_before()


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_set_up_fails_at_every_command(stage, kind):
    commands = stage.setup_commands()
    assert len(commands) > 20
    for number in numbers(stage, len(commands), kind):
        fail_once(stage, Fault(kind, number))


def test_set_up_meets_silence(stage):
    commands = stage.setup_commands()
    least = {"daemon": "transaction", "access": "backup-access-setup"}
    met = (PAUSE + tuple(least.values()) if FULL or stage.name not in least
           else (least[stage.name],))
    for number, name in enumerate(commands, 1):
        first = commands.index(name) + 1 == number
        if name in met and (first or FULL):
            fail_once(stage, Fault("swallow", number), timeout=2)


def unmount_with(stage, fault):
    """One life of a mount whose teardown meets the fault."""
    with stage.mount() as mnt:
        assert mnt.mounted(), mnt.report()
        stage.proxy.arm(fault)
        subprocess.run(["umount", mnt.path], check=True)
        wait_for(lambda: not mnt.processes(), 60, "the end of all")
        assert not mnt.mounted()
        # QEMU is asked again and again until an export is gone: not each
        # teardown has as many commands as the one that was counted
        missed = fault and len(stage.proxy.log) < fault.at
        assert not fault or missed or stage.proxy.struck == 1, (
            fault, mnt.report())
    stage.as_before()


@pytest.mark.parametrize("kind", ("fail", "close-after"))
def test_teardown_meets_a_fault_at_every_command(stage, kind):
    """What the daemon cannot undo the guardian does."""
    unmount_with(stage, None)
    total = len(stage.proxy.log)
    assert total > 10
    for number in numbers(stage, total, kind):
        unmount_with(stage, Fault(kind, number))


def test_killed_at_every_command(stage):
    """kill -9 of the daemon in the middle of a set-up."""
    for number in numbers(stage, len(stage.setup_commands()), "kill"):
        kill_at(stage, number)


def kill_at(stage, number):
    stage.proxy.arm()
    mnt = stage.mount()

    def strike(count, _):
        if count == number:
            wait_for(lambda: mnt.process, what="the daemon's pid")
            os.kill(mnt.process.pid, signal.SIGKILL)

    stage.proxy.hook = strike
    with mnt:
        wait_for(lambda: not mnt.processes(), 40, "the end of all")
        stage.proxy.hook = None
        assert mnt.returncode == -signal.SIGKILL, mnt.report()
        assert not mnt.mounted()
    stage.as_before()
