# SPDX-License-Identifier: GPL-2.0-or-later
"""freeze= with an agent of a script: in order, with every failure, killed.

Whatever the agent does, the guest runs and is asked to thaw, and QEMU is as
it was before.
"""

import os
import signal

import pytest

import images
import mount
import refusal
import scene
from agent import FREEZE, STATUS, SYNC, THAW, Agent
from deadline import wait_for
from qmp import Qmp
from qmpproxy import Fault, QmpProxy

ONE = (("va", "qcow2", 4 * images.MiB),)
TWO = ONE + (("vb", "raw", 4 * images.MiB),)


class Stage:
    """A VM with a second monitor, for the agent's eyes, and its agent."""

    def __init__(self, tmp, vm_factory, disks=TWO, **options):
        self.tmp, self.watch = tmp, f"{tmp}/watch"
        self.scene = scene.build(
            tmp, vm_factory, disks,
            args=("-qmp", f"unix:{self.watch},server=on,wait=off"), **options)
        self.vm = self.scene.vm
        self.agent = Agent(f"{tmp}/web01.agent", self.look)

    def look(self):
        """The run state, and how many disks have the instant behind them."""
        with Qmp(self.watch, 5) as qmp:
            nodes = [entry["inserted"]["node-name"]
                     for entry in qmp.execute("query-block")]
            return (qmp.execute("query-status")["status"],
                    sum(node.startswith("fl-") for node in nodes))

    def mount(self, *words, source=None, **how):
        """A mount that freezes, and may fail."""
        return mount.Mount(self.tmp, source or self.vm.qmp_path,
                           f"agent={self.agent.path}", *words,
                           **{"check": False, **how})

    def assert_as_before(self):
        def same():
            return self.vm.state() == self.scene.before

        wait_for(same, 30, f"QEMU as before, after {self.agent.log}")
        assert self.vm.run_state() == "running"


@pytest.fixture
def stage(tmp, vm_factory):
    one = Stage(tmp, vm_factory)
    with one.agent:
        yield one


@pytest.mark.parametrize("mode", ("try", "require"))
@pytest.mark.parametrize("disks", (1, 2))
@pytest.mark.parametrize("method", ("filter", "job"))
def test_order(tmp, vm_factory, method, disks, mode):
    """Freeze, then the instant, then at once the thaw; and it is told."""
    one = Stage(tmp, vm_factory, TWO[:disks])
    with one.agent as agent, one.mount(f"freeze={mode}",
                                       f"method={method}") as mnt:
        assert mnt.mounted(), mnt.report()
        assert agent.commands() == [STATUS, FREEZE, THAW]
        assert agent.seen(FREEZE) == ("running", 0)
        assert agent.seen(THAW) == ("running", disks)
        assert not agent.frozen
        status = mnt.vm_status("web01")
        assert (status["frozen"], mnt.warnings("web01")) == (2, [])
        assert 0 < status["freeze_ms"] < 8000
        one.scene.assert_shown(mnt)
        mnt.umount()
        assert agent.commands() == [STATUS, FREEZE, THAW]
    one.assert_as_before()


def test_without(stage):
    """No freeze: the agent is not even asked, and there is nothing to tell."""
    with stage.mount() as mnt:
        status = mnt.vm_status("web01")
        assert (status["frozen"], status["freeze_ms"]) == (None, 0)
        mnt.umount()
    assert not stage.agent.log


def test_a_group_of_a_conf(stage):
    """The group has the agent, the mount says what is done with it."""
    path = f"{stage.tmp}/site.conf"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"[www]\nqmp={stage.vm.qmp_path}\n"
                   f"agent={stage.agent.path}\n")
    with mount.Mount(stage.tmp, path, "freeze=require") as mnt:
        assert mnt.vm_status("www")["frozen"] == 2
        mnt.umount()
    stage.assert_as_before()


def test_usage(stage):
    """freeze needs an agent, and an agent belongs to one VM."""
    with open(f"{stage.tmp}/site.conf", "w", encoding="utf-8") as file:
        file.write(f"[www]\nqmp={stage.vm.qmp_path}\nfreeze=try\n")
    for number, (source, words, said) in enumerate((
            (stage.vm.qmp_path, ["freeze=try"], "needs 'agent'"),
            (stage.vm.qmp_path, ["freeze=yes"], "no, try or require"),
            (stage.vm.qmp_path, ["agent="], "not empty"),
            (f"{stage.tmp}/site.conf", [], "[www]: option 'freeze' needs"),
            (stage.tmp, ["freeze=try", "agent=/x"], "of one VM"))):
        with mount.Mount(stage.tmp, source, *words, check=False,
                         name=f"mnt{number}") as mnt:
            status = mount.USAGE if number < 3 else mount.MOUNT_FAILED
            assert said in refusal.assert_refused(mnt, status=status)
    assert not stage.agent.log


# what the agent does wrong; whether a thaw has to be asked for; a word of it
TROUBLES = {
    "no-agent": (SYNC, Agent.silent, False, "no agent runs"),
    "closed": (SYNC, Agent.hang_up, False, "was closed"),
    "status-refused": (STATUS, Agent.refuse, False, "injected by the test"),
    "freeze-refused": (FREEZE, Agent.refuse, True, "injected by the test"),
    "freeze-garbage": (FREEZE, Agent.garbage, True, "garbage"),
    "freeze-closed": (FREEZE, Agent.hang_up, True, "was closed"),
    "freeze-silent": (FREEZE, Agent.silent, True, "no answer within"),
    "freeze-mute": (FREEZE, Agent.mute, True, "no answer within"),
}


@pytest.mark.parametrize("method", ("filter", "job"))
@pytest.mark.parametrize("trouble", TROUBLES)
def test_require_fails(stage, method, trouble):
    """One clear line; the guest runs, thawed."""
    command, what, thaws, word = TROUBLES[trouble]
    stage.agent.trouble[command] = what
    with stage.mount("freeze=require", "timeout=2", f"method={method}") as mnt:
        wait_for(lambda: mnt.returncode is not None, what="the refusal")
        assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
        lines = [line for line in mnt.stderr().splitlines()
                 if "fleecefs: VM web01: not frozen: guest agent" in line]
        assert len(lines) == 1 and word in lines[0], mnt.report()
        assert stage.agent.path in lines[0]
        assert (THAW in stage.agent.commands()) == thaws, stage.agent.log
        wait_for(lambda: not mnt.processes(), what="the end of all")
    assert not stage.agent.frozen
    stage.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
@pytest.mark.parametrize("trouble", TROUBLES)
def test_try_goes_on(stage, method, trouble):
    """A warning, and a snapshot all the same."""
    command, what, thaws, word = TROUBLES[trouble]
    stage.agent.trouble[command] = what
    with stage.mount("freeze=try", "timeout=2", f"method={method}") as mnt:
        assert mnt.mounted(), mnt.report()
        status = mnt.vm_status("web01")
        assert status["frozen"] is None
        assert word in mnt.warnings("web01")[0], status
        assert word in mnt.stderr()
        assert (THAW in stage.agent.commands()) == thaws, stage.agent.log
        assert not stage.agent.frozen
        stage.scene.assert_shown(mnt)
        mnt.umount()
    stage.assert_as_before()


@pytest.mark.parametrize("mode", ("try", "require"))
def test_no_socket(stage, mode):
    with mount.Mount(stage.tmp, stage.vm.qmp_path, f"freeze={mode}",
                     f"agent={stage.tmp}/none", check=False) as mnt:
        assert mnt.mounted() == (mode == "try"), mnt.report()
        assert "No such file" in mnt.stderr()
        if mode == "try":
            mnt.umount()
    stage.assert_as_before()


@pytest.mark.parametrize("mode", ("try", "require"))
def test_frozen_by_somebody_else(stage, mode):
    """That is theirs: it is never thawed."""
    stage.agent.frozen = True
    with stage.mount(f"freeze={mode}") as mnt:
        assert mnt.mounted() == (mode == "try"), mnt.report()
        assert "frozen already, by somebody else" in mnt.stderr()
        if mode == "try":
            assert mnt.vm_status("web01")["frozen"] is None
            mnt.umount()
    stage.assert_as_before()
    assert stage.agent.commands() == [STATUS] and stage.agent.frozen


@pytest.mark.parametrize("mode", ("try", "require"))
def test_a_guest_that_is_paused(stage, mode):
    """It cannot answer, so it is not waited for."""
    stage.vm.execute("stop")
    with stage.mount(f"freeze={mode}") as mnt:
        assert mnt.mounted() == (mode == "try"), mnt.report()
        assert "the guest does not run (paused)" in mnt.stderr()
        if mode == "try":
            mnt.umount()
    assert not stage.agent.log
    stage.vm.execute("cont")
    stage.assert_as_before()


@pytest.mark.parametrize("mode", ("try", "require"))
def test_thawed_before_the_instant(stage, mode):
    """The counts tell; Windows does it after ten seconds."""
    def fewer(agent, conn, request):
        agent.count = 1
        agent.answer(conn, request)

    stage.agent.trouble[THAW] = fewer
    with stage.mount(f"freeze={mode}") as mnt:
        assert mnt.mounted() == (mode == "try"), mnt.report()
        assert "of 2 filesystems frozen only 1" in mnt.stderr()
        if mode == "try":
            assert mnt.warnings("web01")
            mnt.umount()
    stage.assert_as_before()


@pytest.mark.parametrize("what", (Agent.silent, Agent.refuse, Agent.garbage,
                                  Agent.hang_up))
def test_thaw_fails_once(stage, what):
    """It is asked for again until it is answered."""
    stage.agent.trouble[THAW] = what
    stage.agent.once.add(THAW)
    with stage.mount("freeze=require") as mnt:
        assert mnt.mounted(), mnt.report()
        assert stage.agent.commands().count(THAW) == 2, stage.agent.log
        assert not stage.agent.frozen
        mnt.umount()
    stage.assert_as_before()


def test_thaw_is_never_answered(stage):
    """It is required: no snapshot; the guardian goes on asking."""
    stage.agent.trouble[THAW] = Agent.silent
    with stage.mount("freeze=require", "timeout=2") as mnt:
        wait_for(lambda: mnt.returncode is not None, 60, "the refusal")
        assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
        assert "guest-fsfreeze-thaw: no answer within" in mnt.stderr()
        assert stage.vm.run_state() == "running" and stage.agent.frozen
        del stage.agent.trouble[THAW]
        wait_for(lambda: not mnt.processes(), 60, "the guardian's end")
    assert not stage.agent.frozen
    stage.assert_as_before()


def test_thaw_is_never_answered_try(stage):
    """The snapshot stands; the thaw is asked for again when it ends."""
    stage.agent.trouble[THAW] = Agent.silent
    with stage.mount("freeze=try", "timeout=2") as mnt:
        assert mnt.mounted(), mnt.report()
        assert stage.vm.run_state() == "running" and stage.agent.frozen
        (warning,) = mnt.warnings("web01")
        assert "guest-fsfreeze-thaw: no answer within" in warning
        stage.scene.assert_shown(mnt)
        del stage.agent.trouble[THAW]
        mnt.umount()
    assert not stage.agent.frozen
    stage.assert_as_before()


# --- QEMU fails while the guest is frozen ---

FROZEN = [("filter", name) for name in ("stop", "qom-set drive", "cont")]


@pytest.mark.parametrize("kind", ("fail", "close", "close-after", "swallow"))
@pytest.mark.parametrize("method, name", FROZEN + [("job", "transaction")])
def test_the_instant_fails(stage, method, name, kind):
    """It is thawed at once, and after it runs again."""
    with QmpProxy(f"{stage.tmp}/proxy.qmp", stage.vm.qmp_path) as proxy:
        proxy.arm(Fault(kind, name))
        with stage.mount("freeze=require", "timeout=2", f"method={method}",
                         source=proxy.path) as mnt:
            wait_for(lambda: mnt.returncode is not None, what="the refusal")
            assert mnt.returncode == mount.MOUNT_FAILED, mnt.report()
            assert proxy.struck == 1, mnt.report()
            wait_for(lambda: not mnt.processes(), what="the end of all")
    assert stage.agent.commands()[:3] == [STATUS, FREEZE, THAW]
    assert stage.agent.seen(THAW)[0] == "running", stage.agent.log
    assert not stage.agent.frozen
    stage.assert_as_before()


# --- killed ---

def dies(mnt, *, guardian=False):
    """A trouble: frozen, and at once the daemon, or both, are killed."""
    def strike(agent, _conn, request):
        agent.frozen = request["execute"] == FREEZE
        wait_for(lambda: mnt.process, what="the daemon's pid")
        mnt.kill(guardian)

    return strike


@pytest.mark.parametrize("at", (FREEZE, THAW))
def test_killed_while_frozen(stage, at):
    """The guardian thaws within seconds."""
    mnt = stage.mount("freeze=require")
    stage.agent.trouble[at] = dies(mnt)
    stage.agent.once.add(at)
    with mnt:
        wait_for(lambda: mnt.returncode is not None, what="the kill")
        wait_for(lambda: stage.agent.log[-1][0] == THAW and
                 not stage.agent.frozen, 5, "the thaw")
        wait_for(lambda: not mnt.processes(), what="the guardian's end")
        assert not mnt.mounted()
    stage.assert_as_before()


def test_killed_in_the_pause(stage):
    """First it runs, then it is thawed."""
    with QmpProxy(f"{stage.tmp}/proxy.qmp", stage.vm.qmp_path) as proxy:
        mnt = stage.mount("freeze=require", "method=filter",
                          source=proxy.path)

        def strike(_, name):
            if name == "qom-set drive" and mnt.returncode is None:
                os.kill(mnt.process.pid, signal.SIGKILL)

        proxy.hook = strike
        with mnt:
            wait_for(lambda: not mnt.processes(), what="the end of all")
            proxy.hook = None
            assert not mnt.mounted()
    assert stage.agent.seen(THAW)[0] == "running"
    assert not stage.agent.frozen
    stage.assert_as_before()


def test_stopped_daemon(stage):
    """A daemon that hangs is killed after 8 seconds, and the guest thawed."""
    mnt = stage.mount("freeze=require")

    def stop(agent, conn, request):
        os.kill(mnt.process.pid, signal.SIGSTOP)
        agent.answer(conn, request)

    stage.agent.trouble[FREEZE] = stop
    with mnt:
        wait_for(lambda: mnt.returncode is not None, 20, "the kill")
        assert mnt.returncode == -signal.SIGKILL
        wait_for(lambda: not stage.agent.frozen, 5, "the thaw")
        wait_for(lambda: not mnt.processes(), what="the guardian's end")
        assert "frozen for too long" in mnt.stderr()
    stage.assert_as_before()


def test_both_killed_while_frozen(stage):
    """The next mount thaws before all else, also if it does not freeze."""
    mnt = stage.mount("freeze=require")
    stage.agent.trouble[FREEZE] = dies(mnt, guardian=True)
    with mnt:
        wait_for(lambda: not mnt.processes(), what="the kill")
    assert stage.agent.frozen and stage.vm.state() != stage.scene.before
    del stage.agent.log[:]
    with mount.Mount(stage.tmp, stage.vm.qmp_path, name="again") as again:
        assert stage.agent.commands() == [THAW]
        assert not stage.agent.frozen
        stage.scene.assert_shown(again)
        again.umount()
    stage.assert_as_before()


def test_both_killed_later(stage):
    """What somebody else froze since is not thawed."""
    with stage.mount("freeze=require") as mnt:
        assert mnt.mounted(), mnt.report()
        mnt.kill()
        wait_for(lambda: not mnt.processes(), what="the kill")
    stage.agent.frozen = True
    with mount.Mount(stage.tmp, stage.vm.qmp_path, name="again") as again:
        again.umount()
    assert stage.agent.frozen
    assert stage.agent.commands() == [STATUS, FREEZE, THAW]
    stage.assert_as_before()
