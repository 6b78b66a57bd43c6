# SPDX-License-Identifier: GPL-2.0-or-later
"""Incremental chains, seen from outside: names, maps and copies.

What a user's script would do, in Python and with GNU ddrescue: bring a copy
of a disk up to date with what `.dirty` says; and what QEMU itself says of the
bitmaps that make a chain.
"""

import os
import re
import subprocess
from dataclasses import dataclass

from files import parse_mapfile

CLUSTER = 64 << 10

_INSTANT = r"\d{8}T\d{9}Z"
_NAME = re.compile(
    rf"fleecefs\.(?P<chain>[A-Za-z0-9_-]+)\.(?P<instant>{_INSTANT})"
    rf"\.s(?P<size>\d+)\.d(?P<identity>[0-9a-f]+)"
    rf"(?:\.(?:(?P<pending>pending)|c(?P<content>{_INSTANT})))?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's bitmap, by its name; content is an instant."""
    name: str
    chain: str
    instant: str
    size: int
    identity: str
    pending: bool
    content: str


def parse(name):
    """The checkpoint with that name, or None: it is somebody else's bitmap."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return Checkpoint(name, match["chain"], match["instant"],
                      int(match["size"]), match["identity"],
                      bool(match["pending"]),
                      match["content"] or match["instant"])


def node_bitmaps(qmp):
    """The named bitmaps of all nodes: node -> name -> BlockDirtyInfo."""
    return {info["node-name"]: {bitmap["name"]: bitmap
                                for bitmap in info.get("dirty-bitmaps", [])
                                if bitmap.get("name")}
            for info in qmp.execute("query-named-block-nodes",
                                    {"flat": True})}


def checkpoints(bitmaps, chain=None):
    """The checkpoints among a node's bitmaps, of one chain or of all."""
    found = filter(None, map(parse, bitmaps))
    return [one for one in found if chain in (None, one.chain)]


def read_map(path):
    """The blocks of a `.dirty`, which must be as its manual says."""
    with open(path, encoding="ascii") as file:
        blocks = parse_mapfile(file.read())
    end, before = 0, None
    for start, length, status in blocks:
        assert start == end and length > 0, (path, blocks)
        assert status in "+?" and status != before, (path, blocks)
        end, before = start + length, status
    return blocks


def dirty(blocks):
    """The (start, length) of the dirty blocks."""
    return [(start, length) for start, length, status in blocks
            if status == "+"]


def clusters(start, length):
    """The numbers of the clusters that a range touches."""
    return range(start // CLUSTER, -(-(start + length) // CLUSTER))


def dirty_clusters(blocks):
    """The numbers of the clusters with a dirty byte."""
    return {number for start, length in dirty(blocks)
            for number in clusters(start, length)}


def apply(ranges, source, copy, size):
    """Bring a copy up to date: what a program of the user's would do."""
    target = os.open(copy, os.O_RDWR | os.O_CREAT, 0o600)
    origin = os.open(source, os.O_RDONLY)
    try:
        os.ftruncate(target, size)
        for start, length in ranges:
            _copy_range(origin, target, start, length)
    finally:
        os.close(origin)
        os.close(target)


def _copy_range(origin, target, start, length):
    while length:
        data = os.pread(origin, min(length, 1 << 20), start)
        assert data, f"the file ends at {start}"
        os.pwrite(target, data, start)
        start, length = start + len(data), length - len(data)


# As the manual has it.  ddrescue leaves no map where nothing is dirty, and an
# old one would tell it that all is done: hence the first words.
WITH_MAP = (': >"$4" && ddrescue -q -m "$1" "$2" "$3" "$4" && '
            'ddrescuelog -q -D -m "$1" "$4"')
# The same without a map of the run.
WITHOUT_MAP = 'ddrescue -q -X 0 -m "$1" "$2" "$3"'


def ddrescue(words, dirty_map, source, copy, size):
    """The same as apply() with GNU ddrescue, by one of the recipes."""
    if os.path.exists(copy) and os.path.getsize(copy) > size:
        os.truncate(copy, size)
    done = subprocess.run(["sh", "-c", words, "sh", dirty_map, source, copy,
                           f"{copy}.map"], capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0, (words, done.returncode, done.stdout,
                                  done.stderr)


def different_clusters(one, other):
    """Where two contents differ, as a list of cluster numbers.

    A file that is longer differs in what the other does not have.
    """
    end = max(len(one), len(other))
    return [at // CLUSTER for at in range(0, end, CLUSTER)
            if one[at:at + CLUSTER] != other[at:at + CLUSTER]]


def merged(ranges):
    """(start, length) ranges in order as (start, end), neighbours as one."""
    result = []
    for start, length in ranges:
        if result and result[-1][1] == start:
            result[-1] = (result[-1][0], start + length)
        else:
            result.append((start, start + length))
    return result
