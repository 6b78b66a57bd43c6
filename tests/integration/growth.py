# SPDX-License-Identifier: GPL-2.0-or-later
"""What processes use, cycle after cycle, and whether it grows.

    use = Growth(qemu=vm.pid, daemon=mnt.pid)
    for _ in range(cycles):
        ...
        use.note()
    use.assert_none("qemu")
"""

import contextlib
import os
import statistics

from deadline import DeadlinePassed, wait_for

# What the allocators of GLib and libc take and keep: an arena, a heap that is
# not trimmed.  Over the 500 cycles from a quarter of 1,000 to the one after the
# next it hides no leak of more than 2 KiB a cycle; a smaller one is
# LeakSanitizer's.
SLACK = 1024


class Growth:
    """Descriptors, threads and memory of some processes, by name and pid."""

    def __init__(self, **pids):
        self.pids = pids
        self.fewest = self._descriptors()
        self.kib = {name: [] for name in pids}

    def note(self):
        """A reading at the end of a cycle: no descriptor is left open.

        Whoever has just hung up may still be there, so none is more than
        the fewest there ever were.
        """
        with contextlib.suppress(DeadlinePassed):
            wait_for(self._as_few_as_ever, what="closed descriptors")
        now = self._descriptors()
        for name, pid in self.pids.items():
            assert now[name] <= self.fewest[name], (name, now, self.fewest)
            self.kib[name].append(resident(pid))
        self.fewest = now

    def _as_few_as_ever(self):
        now = self._descriptors()
        return all(now[name] <= few for name, few in self.fewest.items())

    def _descriptors(self):
        return {name: len(os.listdir(f"/proc/{pid}/fd"))
                for name, pid in self.pids.items()}

    def assert_none(self, *names):
        """None of these has more memory late than it had in the middle.

        The first quarter is for pools and caches to fill.  The lowest reading
        of a quarter counts: what allocators take and give back at their own
        time is above it.
        """
        for name in names:
            kib = self.kib[name]
            grown = min(quarter(kib, 3)) - min(quarter(kib, 1))
            assert grown <= SLACK, (name, grown, kib)

    def summary(self):
        """The readings in a line for each process, in KiB."""
        return "\n".join(
            f"{name}: {self.fewest[name]} descriptors, "
            f"{len(kib)} cycles, resident KiB by quarters "
            + " ".join(f"{statistics.median(quarter(kib, number)):.0f}"
                       f" ({min(quarter(kib, number))}-"
                       f"{max(quarter(kib, number))})"
                       for number in range(4))
            for name, kib in self.kib.items())


def quarter(values, number):
    """The first, second … quarter (0, 1 …), of one value at least."""
    size = len(values)
    start = size * number // 4
    return values[start:max(size * (number + 1) // 4, start + 1)]


def resident(pid):
    """The process's resident memory in KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError(f"{pid} has no memory")

