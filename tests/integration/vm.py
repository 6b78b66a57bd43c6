# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU, started and ended by a test.

    with Vm(tmp, "web01", [Disk("va", image)]) as vm:
        vm.qemu_io("va", "write -P 0x55 0 64k")
        before = vm.state()

The monitor is at <dir>/web01.qmp and is left free: each call connects, works
and closes.  QEMU's stdout and stderr are in <dir>/web01.log.  A QEMU that
ended by itself, or with an error, fails the test with its command line and
log.
"""

import os
import shlex
import signal
import socket
import subprocess

import vmstate
from deadline import DEADLINE, wait_for
from disk import disk_args
from ours import dies_with_us
from qmp import Qmp, QmpClosed

QEMU = os.environ.get("FLEECEFS_TEST_QEMU", "qemu-system-x86_64")
# Not kvm: the guests are small, and a nested KVM can be many times slower.
ACCEL = os.environ.get("FLEECEFS_TEST_ACCEL", "tcg")


class Vm:
    """One QEMU process; a context manager.

    directory is private to the test.  cdrom and floppy are image paths, or
    "" for an empty drive; pflash is a pair (code, vars) of OVMF files, with
    which the boot sector guest does not boot.  paused starts it with -S.
    """

    def __init__(self, directory, name="vm", disks=(), machine="q35",
                 accel=None, args=(), cdrom=None, floppy=None, pflash=None,
                 paused=False, memory="64M"):
        self.directory = str(directory)
        self.name = name
        self.disks = {disk.id: disk for disk in disks}
        self.qmp_path = os.path.join(self.directory, f"{name}.qmp")
        self.log_path = os.path.join(self.directory, f"{name}.log")
        self.command = self._command(machine, accel or ACCEL,
                                     memory, paused)
        self.command += disk_args(disks) + _pflash_args(pflash)
        self.command += _cdrom_args(cdrom) + _floppy_args(floppy, machine)
        self.command += list(args)
        self.process = None
        self._expect_end = False
        self._qdevs = {}

    def _command(self, machine, accel, memory, paused):
        command = [
            "stdbuf", "-oL", QEMU, "-nodefaults", "-display", "none",
            "-name", self.name, "-machine", f"{machine},accel={accel}",
            "-m", memory, "-net", "none",
            "-chardev", f"socket,id=qmp,path={self.qmp_path},"
            "server=on,wait=off",
            "-mon", "chardev=qmp,mode=control"]
        return command + (["-S"] if paused else [])

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, exc_type, exc, trace):
        failed = not self._expect_end and self.process.poll() is not None
        self.kill()
        if failed:
            raise AssertionError(f"QEMU ended by itself\n{self.report()}")

    def start(self):
        """Start QEMU and wait until its monitor answers."""
        self._expect_end = False
        self._qdevs = {}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                preexec_fn=dies_with_us())
        wait_for(self._monitor_is_there, DEADLINE, f"{self.name}'s monitor")
        try:
            for disk_id in self.disks:
                self.qdev(disk_id)
            self.execute("query-status")
        except (QmpClosed, OSError):
            self.process.wait(DEADLINE)
            self.check_alive()
        return self

    def _monitor_is_there(self):
        """The socket is bound a moment before QEMU listens on it."""
        self.check_alive()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.qmp_path) == 0

    @property
    def pid(self):
        return self.process.pid

    def check_alive(self):
        """Fail, with the command line and log, if QEMU has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"QEMU is gone\n{self.report()}")

    def report(self):
        """What a person needs to see why QEMU ended."""
        return (f"exit status {self.process.poll()}\n"
                f"{shlex.join(self.command)}\n{self.log()}")

    def log(self):
        """QEMU's stdout and stderr so far."""
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def qmp(self, deadline=DEADLINE):
        """A new QMP session: use it with `with`, and briefly."""
        self.check_alive()
        return Qmp(self.qmp_path, deadline)

    def execute(self, command, arguments=None, deadline=DEADLINE):
        """One QMP command in a session of its own."""
        with self.qmp(deadline) as qmp:
            return qmp.execute(command, arguments)

    def quit(self):
        """End QEMU in order (images are flushed, bitmaps stored)."""
        self._expect_end = True
        with self.qmp() as qmp:
            qmp.execute("quit")
        status = self.process.wait(4 * DEADLINE)
        assert status == 0, self.report()

    def kill(self, sig=signal.SIGKILL):
        """End QEMU at once, by its pid."""
        self._expect_end = True
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, sig)
            self.process.wait(DEADLINE)
        if os.path.exists(self.qmp_path):
            os.unlink(self.qmp_path)

    def pause_process(self):
        """SIGSTOP: a QEMU that hangs.  continue_process() ends it."""
        os.kill(self.pid, signal.SIGSTOP)

    def continue_process(self):
        os.kill(self.pid, signal.SIGCONT)

    def state(self):
        """What must be as before when a mount has ended (vmstate.py)."""
        with self.qmp() as qmp:
            return vmstate.qemu_state(qmp, self.pid, self.directory)

    def bitmaps(self, node):
        """The named dirty bitmaps of a node."""
        with self.qmp() as qmp:
            return vmstate.bitmaps(qmp, node)

    @property
    def version(self):
        """QEMU's, as a tuple of numbers: (7, 2, 22)."""
        with self.qmp() as qmp:
            return qmp.version

    def run_state(self):
        return self.execute("query-status")["status"]

    def block_entry(self, disk_id):
        """The disk's entry of query-block."""
        return self._entry("query-block", disk_id)

    def block_stats(self, disk_id):
        """The disk's device counters of query-blockstats."""
        return self._entry("query-blockstats", disk_id)["stats"]

    def _entry(self, query, disk_id):
        qdev = self.qdev(disk_id)
        for entry in self.execute(query):
            if entry.get("qdev") == qdev:
                return entry
        raise KeyError(f"{query} has no {disk_id}")

    def qdev(self, disk_id):
        """The path that query-block gives for the disk's device."""
        if disk_id not in self._qdevs:
            for entry in self.execute("query-block"):
                if self._belongs(entry, disk_id):
                    self._qdevs[disk_id] = entry["qdev"]
        return self._qdevs[disk_id]

    def _belongs(self, entry, disk_id):
        """By id, or for a device without one by what it was given."""
        if disk_id in entry.get("qdev", "").split("/"):
            return True
        disk = self.disks.get(disk_id)
        node = entry.get("inserted", {}).get("node-name")
        return disk is not None and disk.root in (entry["device"], node)

    def qemu_io(self, disk_id, command):
        """Run a qemu-io command on the disk as its device would.

        The write goes through the device's own root, so through whatever
        filter stands there.  Returns what qemu-io printed; a failure or a
        pattern that differs is an AssertionError.
        """
        start = os.path.getsize(self.log_path)
        qdev = self.qdev(disk_id)
        with self.qmp() as qmp:
            said = qmp.hmp(f'qemu-io -d {qdev} "{command}"')
        with open(self.log_path, errors="replace") as log:
            log.seek(start)
            said += log.read()
        worked = "wrote " in said or "read " in said or "discard " in said
        assert worked and "ailed" not in said, (command, said)
        return said

    def write(self, disk_id, offset, length, pattern):
        """Fill a range with one byte, as the guest would."""
        return self.qemu_io(disk_id, f"write -P {pattern} {offset} {length}")

    def reads(self, disk_id, offset, length, pattern):
        """Assert that the guest sees one byte all over a range."""
        return self.qemu_io(disk_id, f"read -P {pattern} {offset} {length}")


def _pflash_args(pflash):
    if not pflash:
        return []
    code, variables = pflash
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]


def _cdrom_args(cdrom):
    if cdrom is None:
        return []
    medium = f",file={cdrom},format=raw,readonly=on" if cdrom else ""
    return ["-drive", f"id=drive-cd,if=none,media=cdrom{medium}",
            "-device", "virtio-scsi-pci,id=scsi-cd",
            "-device", "scsi-cd,id=cd,drive=drive-cd,bus=scsi-cd.0"]


def _floppy_args(floppy, machine):
    if floppy is None:
        return []
    medium = f",file={floppy},format=raw" if floppy else ""
    controller = ["-device", "isa-fdc,id=fdc"] if machine == "q35" else []
    return controller + [
        "-drive", f"id=drive-fd,if=none{medium}",
        "-device", "floppy,id=fd,drive=drive-fd"]
