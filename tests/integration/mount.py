# SPDX-License-Identifier: GPL-2.0-or-later
"""A fleecefs mount, started and ended by a test.

    with Mount(tmp, vm.qmp_path, "discard") as mnt:
        mnt.sha256("web01/va.raw")
        mnt.umount()

umount() asserts that the daemon ended well.  Leaving the block in any other
way ends the mount lazily and the daemon by its pid.
"""

import json
import os
import signal
import subprocess

from deadline import DEADLINE, DeadlinePassed, wait_for
from ours import describe, dies_with_us, mounts_below, processes_of
from sanitizers import sanitizer_environment, sanitizer_reports

MOUNT_FAILED = 32
USAGE = 1


def binary(name="fs/fleecefs"):
    """A built program; the path need not exist."""
    return os.path.join(os.environ.get("FLEECEFS_BINARY_DIR", "build"), name)


def options(*words):
    """One -o argument from words, leaving out the empty ones."""
    text = ",".join(word for word in words if word)
    return ["-o", text] if text else []


class Mount:
    """One fleecefs process and its mount; a context manager.

    directory is private to the test.  words are mount options.  With
    foreground=False the program is run as mount(8) would: it returns when
    the mount stands.  check=False is for a start that is to fail: then
    returncode and stderr() tell.
    """

    def __init__(self, directory, source, *words, foreground=True, name="mnt",
                 check=True, env=None, deadline=DEADLINE):
        self.directory = str(directory)
        self.path = os.path.join(self.directory, name)
        self.log_path = os.path.join(self.directory, f"{name}.log")
        self.command = [binary(), *(["-f"] if foreground else []),
                        *options(*words), str(source), self.path]
        self.foreground, self.check = foreground, check
        self.deadline = deadline
        self.env = {**os.environ, **sanitizer_environment(self.directory),
                    **(env or {})}
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.cleanup()
            raise

    def __exit__(self, *exc):
        self.cleanup()

    def start(self):
        """Start the program; with check, wait until the mount stands."""
        os.makedirs(self.path, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=self.env, start_new_session=True,
                preexec_fn=dies_with_us(signal.SIGTERM))
        if not self.foreground or not self.check:
            self._wait_returned_or_mounted()
        else:
            wait_for(self._is_up, self.deadline, f"{self.command} to mount")
        return self

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the mount failed\n{self.report()}")
        return self.mounted()

    def _wait_returned_or_mounted(self):
        def over():
            ended = self.process.poll() is not None
            return ended or (self.foreground and self.mounted())

        wait_for(over, self.deadline, f"{self.command} to return")
        if self.check:
            assert self.returncode == 0 and self.mounted(), self.report()

    @property
    def returncode(self):
        return self.process.poll()

    @property
    def pid(self):
        """The foreground daemon's pid."""
        assert self.foreground
        return self.process.pid

    def mounted(self):
        """Whether a filesystem stands there, a dead one too."""
        return self.path in mounts_below(self.path)

    def stderr(self):
        """What the program said so far."""
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def report(self):
        """What a person needs to see why the mount failed."""
        return (f"{' '.join(self.command)}\nexit status "
                f"{self.returncode}\n{self.stderr()}\n"
                f"{sanitizer_reports(self.directory)}")

    def umount(self):
        """umount(8), and assert that all went well and is gone."""
        done = subprocess.run(["umount", self.path], capture_output=True,
                              text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr + self.report()
        self.wait_gone()

    def wait_gone(self):
        """Wait for the daemon's good end after something unmounted it."""
        try:
            wait_for(lambda: not self.processes(), self.deadline,
                     f"the end of {self.command}")
        except DeadlinePassed as late:
            stacks = "".join(map(describe, self.processes()))
            raise DeadlinePassed(f"{late}\n{self.report()}{stacks}") from None
        assert not self.mounted(), self.report()
        if self.foreground:
            status = self.process.wait(self.deadline)
            assert status == 0, self.report()
        reports = sanitizer_reports(self.directory, self.stderr())
        assert not reports, reports

    def processes(self):
        """Pids of this mount's processes that live (daemon, guardian)."""
        self.process.poll()
        return processes_of(self.path)

    def kill(self, guardian=True):
        """SIGKILL; with its guardian at one moment, so that neither sees the
        other's end and begins to clean up."""
        pids = self.processes() if guardian else [self.process.pid]
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, sig)

    def cleanup(self):
        """Leave nothing behind, whatever state things are in."""
        if self.mounted():
            subprocess.run(["umount", "-l", self.path], check=False,
                           capture_output=True)
        if self.process is None:
            return
        for pid in self.processes():
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                continue
        self._kill_what_stays()

    def _kill_what_stays(self):
        try:
            wait_for(lambda: not self.processes(), 10, "the daemon's end")
        except AssertionError:
            for pid in self.processes():
                os.kill(pid, 9)
        self.process.poll()

    def join(self, *names):
        """The path of something in the mount."""
        return os.path.join(self.path, *names)

    def status(self):
        """The live status."""
        with open(self.join(".fleecefs", "status"), encoding="utf-8") as file:
            return json.load(file)

    def disk_status(self, vm, disk):
        """One disk's entry in the live status."""
        disks = self.vm_status(vm)["disks"]
        return _entry(disks, "name", disk)

    def vm_status(self, vm):
        """One VM's entry in the live status."""
        return _entry(self.status()["vms"], "vm", vm)

    def warnings(self, vm):
        """Its warnings, without the one that is true of most tests: their
        scratch is on the filesystem of their images."""
        return [text for text in self.vm_status(vm)["warnings"]
                if not text.startswith("scratch=")]

    def control(self, line):
        """Write a command to the control file; OSError tells why not."""
        fd = os.open(self.join(".fleecefs", "control"), os.O_WRONLY)
        try:
            os.write(fd, line.encode() + b"\n")
        finally:
            os.close(fd)


def _entry(entries, key, name):
    for entry in entries:
        if entry[key] == name:
            return entry
    raise KeyError(f"{name} is not among {entries}")
