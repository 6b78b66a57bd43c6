# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures, and what every test is held to.

After each test no process, no mount and no sanitizer report of its own may be
there: a leftover is removed and fails the test.  With
FLEECEFS_TESTS_MUST_RUN=1 a skip is a failure.
"""

import contextlib
import faulthandler
import importlib
import os
import shutil
import subprocess
import tempfile
import threading

import pytest

import mount
import ours
import qsd
from deadline import DEADLINE, DeadlinePassed, wait_for
from libvirtd import Libvirtd
from namespace import Namespace
from sanitizers import sanitizer_reports
from vm import QEMU, Vm

# in full, one test takes hundreds of snapshots
HANG = float(os.environ.get(
    "FLEECEFS_TEST_HANG",
    "3600" if os.environ.get("FLEECEFS_TESTS_FULL") else "300"))
MUST_RUN = os.environ.get("FLEECEFS_TESTS_MUST_RUN") == "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where there are several workers; not in them."""
    return importlib.import_module("order").OneAhead(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip into a failure where every test must run."""
    outcome = yield
    report = outcome.get_result()
    if MUST_RUN and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (f"{item.nodeid} was skipped, and "
                           f"FLEECEFS_TESTS_MUST_RUN=1: {call.excinfo.value}")


@pytest.fixture(scope="session")
def qemu():
    """The QEMU under test, or a skip that says what is missing."""
    if shutil.which(QEMU) is None:
        pytest.skip(f"{QEMU} is not installed")
    return QEMU


@pytest.fixture(scope="session")
def fleecefs():
    """The built daemon, or a skip that says what is missing."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this kernel has no /dev/fuse")
    if not os.access(mount.binary(), os.X_OK):
        pytest.skip(f"{mount.binary()} is not built; set FLEECEFS_BINARY_DIR")
    return mount.binary()


@pytest.fixture
def inside(tmp, fleecefs, need_tool):
    """The programs installed, in a mount namespace, as who administers a
    machine has them; nothing stays mounted there."""
    for tool in ("meson", "setpriv", "fusermount3"):
        need_tool(tool)
    with Namespace(tmp) as namespace:
        yield namespace
        assert namespace.leftovers() == []


@pytest.fixture
def tmp():
    """A private directory with a short path: sun_path has 108 bytes."""
    path = tempfile.mkdtemp(prefix="flt-", dir="/tmp")
    watchdog = _watchdog(path)
    yield path
    watchdog.cancel()
    faulthandler.cancel_dump_traceback_later()
    leftovers = _leftovers(path)
    _remove(path)
    assert not leftovers, "\n".join(leftovers)


@pytest.fixture
def vm_factory(tmp, qemu):
    """Start VMs in tmp: vm_factory(name, disks, …) as Vm's arguments."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(
            Vm(tmp, *args, **kwargs))


@pytest.fixture
def daemon_factory(tmp):
    """Start storage daemons in tmp: daemon_factory(name, disks, …) as
    StorageDaemon's arguments."""
    if shutil.which(qsd.PROGRAM) is None:
        pytest.skip(f"{qsd.PROGRAM} is not installed")
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(
            qsd.StorageDaemon(tmp, *args, **kwargs))


@pytest.fixture(scope="session")
def libvirt_cache(tmp_path_factory):
    """What a libvirtd finds out about QEMU, which takes it seconds."""
    return tmp_path_factory.mktemp("libvirt")


@pytest.fixture
def libvirt(tmp, qemu, libvirt_cache):
    """A libvirtd in tmp, with a short way to domains."""
    for tool in ("libvirtd", "virsh"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    with Libvirtd(tmp, libvirt_cache) as daemon:
        yield daemon


@pytest.fixture
def mount_factory(tmp, fleecefs, request):
    """Start mounts in tmp: mount_factory(source, words…) as Mount's.

    Mounts end before the VMs do.
    """
    for name in ("vm_factory", "daemon_factory", "libvirt", "hv"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(
            mount.Mount(tmp, *args, **kwargs))


@pytest.fixture
def tmpfs(tmp):
    """Small filesystems for scratch: tmpfs("32m") is the path of one."""
    with contextlib.ExitStack() as stack:
        def make(size):
            path = tempfile.mkdtemp(dir=tmp, prefix="scratch-")
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}",
                            "none", path], check=True)
            stack.callback(subprocess.run, ["umount", "-l", path],
                           check=True)
            return path

        yield make


@pytest.fixture
def need_tool():
    """need_tool("rsync") skips where a tool is missing."""
    def need(tool):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return need


def _watchdog(path):
    """End a hanging test: its daemons and VMs are killed, so its I/O ends."""
    def strike():
        for pid in ours.processes_of(path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    faulthandler.dump_traceback_later(HANG, exit=False)
    timer = threading.Timer(HANG, strike)
    timer.daemon = True
    timer.start()
    return timer


def _leftovers(path):
    """What the test left behind, as lines; empty is good."""
    found = [f"mount left: {where}" for where in ours.mounts_below(path)]
    with contextlib.suppress(DeadlinePassed):
        wait_for(lambda: not ours.processes_of(path), 10, "the end of all")
    for pid in ours.processes_of(path):
        found.append(f"process left: {pid} {ours.command_line(pid)}")
    reports = sanitizer_reports(path, _logs(path))
    return found + ([reports] if reports else [])


def _logs(path):
    """What the programs of this test said."""
    text = ""
    for name in os.listdir(path):
        if name.endswith(".log"):
            with open(os.path.join(path, name), errors="replace",
                      encoding="utf-8") as file:
                text += file.read()
    return text


def _remove(path):
    for where in ours.mounts_below(path):
        subprocess.run(["umount", "-l", where], check=False)
    for pid in ours.processes_of(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    wait_for(lambda: not ours.processes_of(path), DEADLINE, "killed processes")
    shutil.rmtree(path)
