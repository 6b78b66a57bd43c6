# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding what a test started: by its private paths, never by a broad name.

Every path of a test is below a private directory, and every process of ours
has such a path on its command line, so that path tells ours from others'.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def dies_with_us(sig=signal.SIGKILL):
    """A preexec_fn: the child gets sig when this test run is killed."""
    return lambda: _prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)


def processes_of(path):
    """Pids whose command line names path or something below it."""
    path, found = os.fsencode(path), []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            if _names(entry, path):
                found.append(int(entry))
    return found


def _names(pid, path):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
    except OSError:
        return False
    return re.search(re.escape(path) + rb"(?=[/,\0]|$)", words) is not None


def command_line(pid):
    """The command line of a process, for a message."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(gone)"


def describe(pid):
    """What a process that does not end is doing, for a message."""
    text = f"{pid} {command_line(pid)}\n"
    if shutil.which("gdb"):
        done = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-ex",
             "thread apply all bt 16"], stdout=subprocess.PIPE, check=False,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
            errors="replace", timeout=120)
        lines = [line for line in done.stdout.splitlines()
                 if line.startswith(("#", "Thread"))]
        text += "\n".join(lines) + "\n"
    return text


def mounts_below(path):
    """Mountpoints at or below path, the innermost first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8",
              errors="surrogateescape") as file:
        for line in file:
            where = line.split()[4].replace("\\040", " ")
            if where == path or where.startswith(path + "/"):
                found.append(where)
    return sorted(found, reverse=True)
