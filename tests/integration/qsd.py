# SPDX-License-Identifier: GPL-2.0-or-later
"""A qemu-storage-daemon that serves disks to others, started by a test.

    with StorageDaemon(tmp, "web01", [Disk("va", image)], fuse=True) as daemon:
        daemon.write("va", 0, 65536, 0x55)
        before = daemon.state()

It stands in for a Vm where one has disks of known content: what a guest would
write goes through the FUSE export of a disk, <dir>/<disk>.fuse.  Without fuse,
a disk is exported as vhost-user-blk, on <dir>/<disk>.vub, with iothread=True in
a thread of its own.  Its monitor is <dir>/<name>.qmp.
"""

import os
import signal
import socket
import subprocess

import vmstate
from deadline import DEADLINE, wait_for
from ours import dies_with_us
from qmp import Qmp

PROGRAM = "qemu-storage-daemon"


class StorageDaemon:
    """One process; a context manager.  args are more words for it."""

    def __init__(self, directory, name, disks, fuse=False, iothread=False,
                 args=()):
        self.directory, self.name, self.fuse = str(directory), name, fuse
        self.iothread = iothread
        self.disks = {disk.id: disk for disk in disks}
        self.qmp_path = f"{directory}/{name}.qmp"
        self.log_path = f"{directory}/{name}.said"
        self.command = [PROGRAM, "--chardev", "socket,id=c,server=on,"
                        f"wait=off,path={self.qmp_path}",
                        "--monitor", "chardev=c", *args]
        for disk in disks:
            self.command += self._disk_words(disk)
        self.process = None

    def _disk_words(self, disk):
        export = f"id=x-{disk.id},node-name={disk.id},writable=on"
        kind = (f"fuse,mountpoint={self.fuse_path(disk.id)}" if self.fuse else
                f"vhost-user-blk,addr.type=unix,addr.path="
                f"{self.vhost_path(disk.id)}")
        words = ["--blockdev", f"driver=file,node-name={disk.id}-file,"
                 f"filename={disk.image}",
                 "--blockdev", f"driver={disk.fmt},node-name={disk.id},"
                 f"file={disk.id}-file"]
        if self.iothread:
            words += ["--object", f"iothread,id=io-{disk.id}"]
            export += f",iothread=io-{disk.id}"
        return words + ["--export", f"{kind},{export}"]

    def fuse_path(self, disk_id):
        return f"{self.directory}/{disk_id}.fuse"

    def vhost_path(self, disk_id):
        return f"{self.directory}/{disk_id}.vub"

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *exc):
        ended = self.process.poll() is not None
        self.kill()
        assert not ended, (self.command, self.said())

    def start(self):
        """Start it and wait until it serves all."""
        for disk_id in self.disks if self.fuse else ():
            open(self.fuse_path(disk_id), "wb").close()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                preexec_fn=dies_with_us(signal.SIGTERM))
        wait_for(self._serves, DEADLINE, f"{self.name} to serve")
        return self

    def _serves(self):
        """Its exports come after its monitor, in the order of its words."""
        assert self.process.poll() is None, (self.command, self.said())
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(self.qmp_path) != 0:
                return False
        exports = self.execute("query-block-exports")
        return len(exports) >= len(self.disks)

    def said(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def kill(self):
        """SIGTERM, so that it takes its FUSE exports away."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(DEADLINE)

    def qmp(self):
        """A new QMP session: use it with `with`, and briefly."""
        return Qmp(self.qmp_path)

    def execute(self, command, arguments=None):
        """One QMP command in a session of its own."""
        with self.qmp() as qmp:
            return qmp.execute(command, arguments)

    def state(self):
        """What must be as before when a mount has ended (vmstate.py)."""
        with self.qmp() as qmp:
            return vmstate.block_state(qmp, self.process.pid, self.directory)

    def bitmaps(self, node):
        """The named dirty bitmaps of a node."""
        with self.qmp() as qmp:
            return vmstate.bitmaps(qmp, node)

    def write(self, disk_id, offset, length, pattern):
        """Fill a range with one byte, as who uses its FUSE export would."""
        fd = os.open(self.fuse_path(disk_id), os.O_WRONLY)
        try:
            written = os.pwrite(fd, bytes([pattern]) * length, offset)
        finally:
            os.close(fd)
        assert written == length

    def reads(self, disk_id, offset, length, pattern):
        """Assert that they see one byte all over a range."""
        fd = os.open(self.fuse_path(disk_id), os.O_RDONLY)
        try:
            found = os.pread(fd, length, offset)
        finally:
            os.close(fd)
        assert found == bytes([pattern]) * length, (disk_id, offset)
