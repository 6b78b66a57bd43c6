# SPDX-License-Identifier: GPL-2.0-or-later
"""What the disks' chains must be, as a model says that knows no bitmap.

The model is told what happened (a commit, a restart, a resize) and predicts
for each disk of the next snapshot whether it is full or incremental, why, and
since when; and which checkpoints QEMU must have.
"""

import threading
from dataclasses import dataclass, field

from chain import clusters


@dataclass
class Point:
    """A committed checkpoint of one disk.

    stored: the image has it, too, so that it outlives QEMU; broken: QEMU was
    killed with it.  touched: clusters that were written to since, or a bit
    before; None where nobody knows.
    """
    instant: str
    size: int
    content: str
    touched: set
    stored: bool = False
    broken: bool = False


@dataclass
class DiskModel:
    """A disk; node is where its bitmaps are, root what its device has."""
    id: str
    fmt: str
    image: str
    size: int
    node: str
    root: str
    plugged: bool = True
    living: bool = False        # a guest writes to it without telling us
    iothread: bool = False
    points: dict = field(default_factory=dict)      # chain -> [Point]
    pending: set = None         # what Point.touched will be
    sizes: set = field(default_factory=set)         # that it ever had

    @property
    def keeps(self):
        """Whether bitmaps are kept in the image."""
        return self.fmt == "qcow2"

    def of(self, chain):
        """The chain's checkpoints."""
        return self.points.setdefault(chain, [])

    def find(self, chain, instant):
        """The checkpoint of an instant, or None."""
        for point in self.of(chain):
            if point.instant == instant:
                return point
        return None

    def all_points(self):
        """The checkpoints of all chains."""
        return [point for points in self.points.values() for point in points]

    def filter_points(self, keep):
        """Leave only the checkpoints for which keep() is true."""
        for chain, points in self.points.items():
            self.points[chain] = [one for one in points if keep(one)]


@dataclass(frozen=True)
class Prediction:
    """What vm.json has to say of a disk."""
    mode: str
    reason: str
    base: str


class Model:
    """The disks of one VM; a lock because writers have threads."""

    def __init__(self, disks):
        self.disks = {disk.id: disk for disk in disks}
        self.lock = threading.Lock()

    def plugged(self):
        return [disk for disk in self.disks.values() if disk.plugged]

    def touch(self, disk, start, length):
        """Somebody is about to write there."""
        numbers = clusters(start, length)
        with self.lock:
            for point in disk.all_points():
                point.touched.update(numbers)
            if disk.pending is not None:
                disk.pending.update(numbers)

    def newest(self, chain):
        """The newest instant that any disk has, or None."""
        return max((point.instant for disk in self.plugged()
                    for point in disk.of(chain)), default=None)

    def predict(self, chain, since=None, fallback=False):
        """disk id -> Prediction; None where the snapshot is refused."""
        wanted = since or self.newest(chain)
        newest = self.newest(chain)
        told = {disk.id: _predict(disk, chain, wanted, newest)
                for disk in self.plugged()}
        usable = any(one.base for one in told.values())
        return None if since and not usable and not fallback else told

    def begin(self, chain):
        """A snapshot is about to be taken: broken ones are dropped."""
        with self.lock:
            for disk in self.plugged():
                disk.points[chain] = [point for point in disk.of(chain)
                                      if not point.broken]
                disk.pending = set()

    def end(self):
        """The snapshot has ended, or was never taken."""
        with self.lock:
            for disk in self.disks.values():
                disk.pending = None

    def commit(self, chain, instant, contents, keep):
        """contents: disk id -> its content instant, of the disks in it."""
        with self.lock:
            for disk_id, content in contents.items():
                disk = self.disks[disk_id]
                _outdate(disk, chain, keep)
                disk.of(chain).append(Point(instant, disk.size, content,
                                            set(disk.pending)))

    def closed(self, disk):
        """The image was closed well: qcow2 has the bitmaps, raw has not."""
        disk.filter_points(lambda point: disk.keeps)
        for point in disk.all_points():
            point.stored = True

    def killed(self, disk):
        """QEMU died with it: what was in the image is not to be trusted."""
        disk.filter_points(lambda point: point.stored)
        for point in disk.all_points():
            point.broken = True


def _predict(disk, chain, wanted, newest):
    point = disk.find(chain, wanted)
    if newest is None:
        reason = "first"
    elif point is None and disk.find(chain, newest):
        reason = "since-missing"
    elif point is None:
        reason = "new-disk" if disk.keeps else "transient-lost"
    elif point.broken:
        reason = "inconsistent"
    elif point.size != disk.size:
        reason = "resized"
    else:
        return Prediction("incremental", None, wanted)
    return Prediction("full", reason, None)


def _outdate(disk, chain, keep):
    """keep - 1 of the old ones stay, those that another size is not."""
    useful = [point for point in disk.of(chain) if point.size == disk.size]
    useful.sort(key=lambda point: point.instant)
    disk.points[chain] = useful[max(len(useful) - (keep - 1), 0):]
