# SPDX-License-Identifier: GPL-2.0-or-later
"""Who runs against whom: each serves the same disk, at one instant.

A peer has `name`, and either `path`, a file to read, or `uri`, an NBD export.
`pids` are the processes that serve it, QEMU left out, whose CPU time counts.

fleecefs reads the disk of one QEMU; all others share another one, of the same
version, with the same content, the same arguments and the graph that fleecefs
builds: copy-before-write over the disk, snapshot-access over that.  Two
because a QEMU has one NBD server, and fleecefs keeps it to itself.  Both
guests stand still, so that nothing but the reader is at work.
"""

import contextlib
import os
import shutil
import signal
import subprocess

from deadline import DEADLINE, wait_for
from disk import Disk
from mount import Mount
from ours import dies_with_us, mounts_below
from vm import Vm

VM_DISK = "va"


class Fleecefs:
    """fleecefs itself, as a user mounts it."""
    name = "fleecefs"

    def __init__(self, bench, words=()):
        self.vm = Vm(bench.tmp, "web01", [Disk(VM_DISK, bench.image("own"))],
                     paused=True)
        self.mount = Mount(bench.tmp, self.vm.qmp_path,
                           f"scratch={bench.tmp}", *words)
        self.path = self.mount.join("web01", f"{VM_DISK}.raw")

    def __enter__(self):
        self.vm.__enter__()
        self.mount.__enter__()
        self.pids = self.mount.processes()
        self.qemu = self.vm.pid
        return self

    def __exit__(self, *exc):
        if exc[0] is None:
            self.mount.umount()
        self.mount.cleanup()
        self.vm.__exit__(*exc)


class FleecedVm:
    """The peers' QEMU: an NBD export and a FUSE export of one fleece."""
    name = "qemu"

    def __init__(self, bench):
        self.tmp = bench.tmp
        self.image = bench.image("peer")
        self.vm = Vm(bench.tmp, "peer", [Disk(VM_DISK, self.image)],
                     paused=True)
        self.socket = os.path.join(bench.tmp, "peer.nbd")
        self.uri = f"nbd+unix:///{VM_DISK}?socket={self.socket}"
        self.fuse_path = os.path.join(bench.tmp, "qemu-fuse")
        self.pids = []

    def __enter__(self):
        self.vm.__enter__()
        self.qemu = self.vm.pid
        with self.vm.qmp() as qmp:
            self._build(qmp)
        return self

    def _build(self, qmp):
        scratch = os.path.join(self.tmp, "peer.scratch")
        with open(scratch, "wb") as file:
            file.truncate(os.path.getsize(self.image))
        qmp.execute("blockdev-add", {
            "driver": "raw", "node-name": "scratch", "discard": "unmap",
            "file": {"driver": "file", "filename": scratch,
                     "discard": "unmap"}})
        qmp.execute("blockdev-add", {
            "driver": "copy-before-write", "node-name": "filter",
            "file": f"{VM_DISK}-fmt", "target": "scratch",
            "on-cbw-error": "break-snapshot"})
        qmp.execute("qom-set", {"path": f"/machine/peripheral/{VM_DISK}",
                                "property": "drive", "value": "filter"})
        qmp.execute("blockdev-add", {
            "driver": "snapshot-access", "node-name": "access",
            "file": "filter", "discard": "unmap"})
        qmp.execute("nbd-server-start", {"addr": {
            "type": "unix", "data": {"path": self.socket}}})
        qmp.execute("block-export-add", {
            "type": "nbd", "id": "nbd", "node-name": "access",
            "name": VM_DISK})

    def __exit__(self, *exc):
        self.vm.kill()


class StorageDaemon:
    """QEMU's FUSE export in a process of its own, as fleecefs is one."""
    name = "qemu-fuse"

    def __init__(self, bench, fleeced):
        self.fleeced = fleeced
        self.path = os.path.join(bench.tmp, "storage-daemon")

    def __enter__(self):
        with open(self.path, "wb"):
            pass
        self.process = subprocess.Popen(
            ["qemu-storage-daemon", "--blockdev",
             "driver=nbd,node-name=disk,read-only=on,"
             f"export={VM_DISK},server.type=unix,"
             f"server.path={self.fleeced.socket}",
             "--export", "type=fuse,id=fuse,node-name=disk,"
             f"mountpoint={self.path}"],
            stdin=subprocess.DEVNULL,
            preexec_fn=dies_with_us(signal.SIGTERM))
        wait_for(self._is_up, DEADLINE, "qemu-storage-daemon")
        self.pids = [self.process.pid]
        self.qemu = self.fleeced.vm.pid
        return self

    def _is_up(self):
        assert self.process.poll() is None, "qemu-storage-daemon has ended"
        return bool(mounts_below(self.path))

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(DEADLINE)


class VmFuse:
    """QEMU's FUSE export in the VM itself: one process less to go through,
    and a file system that hangs in the guest's own QEMU."""
    name = "vm-fuse"

    def __init__(self, fleeced):
        self.fleeced = fleeced
        self.path = fleeced.fuse_path
        self.pids = []

    def __enter__(self):
        with open(self.path, "wb"):
            pass
        with self.fleeced.vm.qmp() as qmp:
            qmp.execute("block-export-add", {
                "type": "fuse", "id": "fuse", "node-name": "access",
                "mountpoint": self.path})
        self.qemu = self.fleeced.vm.pid
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(Exception), self.fleeced.vm.qmp() as qmp:
            qmp.execute("block-export-del", {"id": "fuse"})
        wait_for(lambda: not mounts_below(self.path), DEADLINE,
                 "the end of QEMU's FUSE export")


class NbdFuse:
    """libnbd's nbdfuse, with its defaults."""
    name = "nbdfuse"

    def __init__(self, bench, fleeced):
        self.fleeced = fleeced
        self.mountpoint = os.path.join(bench.tmp, "nbdfuse")
        self.path = os.path.join(self.mountpoint, f"{VM_DISK}.raw")

    def __enter__(self):
        os.makedirs(self.mountpoint, exist_ok=True)
        self.process = subprocess.Popen(
            ["nbdfuse", self.path, self.fleeced.uri],
            stdin=subprocess.DEVNULL,
            preexec_fn=dies_with_us(signal.SIGTERM))
        wait_for(self._is_up, DEADLINE, "nbdfuse")
        self.pids = [self.process.pid]
        self.qemu = self.fleeced.vm.pid
        return self

    def _is_up(self):
        assert self.process.poll() is None, "nbdfuse has ended"
        return bool(mounts_below(self.mountpoint))

    def __exit__(self, *exc):
        subprocess.run(["fusermount3", "-u", self.mountpoint], check=False)
        self.process.wait(DEADLINE)


class Plain:
    """The image itself: as fast as the tool can be."""
    name = "plain"

    def __init__(self, bench):
        self.path = bench.image("peer")
        self.pids, self.qemu = [], None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class NbdCopy:
    """libnbd's nbdcopy, with its defaults: no file, so rows of its own."""
    name = "nbdcopy"
    path = None

    def __init__(self, fleeced):
        self.uri = fleeced.uri
        self.fleeced = fleeced
        self.pids = []

    def __enter__(self):
        self.qemu = self.fleeced.vm.pid
        return self

    def __exit__(self, *exc):
        pass


@contextlib.contextmanager
def everybody(bench):
    """All that can run here, by name; says who cannot, and why."""
    with contextlib.ExitStack() as stack:
        fleeced = stack.enter_context(FleecedVm(bench))
        wanted = [Fleecefs(bench, bench.words), Plain(bench)]
        for tool, make in (
                ("nbdcopy", lambda: NbdCopy(fleeced)),
                ("nbdfuse", lambda: NbdFuse(bench, fleeced)),
                ("qemu-storage-daemon",
                 lambda: StorageDaemon(bench, fleeced))):
            if shutil.which(tool):
                wanted.append(make())
            else:
                bench.say(f"left out: {tool} is not installed")
        found = {peer.name: stack.enter_context(peer) for peer in wanted}
        try:
            fuse = stack.enter_context(VmFuse(fleeced))
            found[fuse.name] = fuse
        except Exception as error:  # QEMU's words say what it lacks
            bench.say(f"left out: the VM's FUSE export: {error}")
        yield found
