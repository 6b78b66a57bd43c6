# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of one command: how long, and at whose expense."""

import os
import subprocess
import time
from dataclasses import asdict, dataclass

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """seconds by the clock; CPU seconds of the server and of QEMU."""
    row: str
    peer: str
    bytes: int
    seconds: float
    server_cpu: float
    qemu_cpu: float

    def mb_per_s(self):
        return self.bytes / self.seconds / 1e6

    def server_cpu_per_gib(self):
        return self.server_cpu / (self.bytes / (1 << 30))

    def as_dict(self):
        return {**asdict(self), "mb_per_s": self.mb_per_s()}


def cpu_seconds(pids):
    """User and system time of processes so far; one that is gone has none."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def forget(path):
    """Drop what the page cache has of a file of a mount."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def run(row, peer, bench):
    """Run the row's command for the peer, with cold caches."""
    if row.before:
        subprocess.run(row.before(bench), shell=True, check=True)
    if peer.path and peer.name != "plain":
        forget(peer.path)
    qemu = [peer.qemu] if peer.qemu else []
    server, guest = cpu_seconds(peer.pids), cpu_seconds(qemu)
    start = time.monotonic()
    subprocess.run(row.command_for(peer, bench), shell=True, check=True,
                   stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    return Run(row.name, peer.name, row.bytes(bench), seconds,
               cpu_seconds(peer.pids) - server, cpu_seconds(qemu) - guest)
