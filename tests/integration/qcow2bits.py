# SPDX-License-Identifier: GPL-2.0-or-later
"""Fill the data of a bitmap that is stored in a qcow2 image.

A bitmap of millions of separate bits would take millions of writes.  The
format is that of QEMU's docs/interop/qcow2.txt, "Bitmaps extension".
"""

import struct

_BITMAPS = 0x23852875
_OFFSET = (1 << 56) - (1 << 9)


def fill(image, name, pattern):
    """Overwrite all data clusters of the bitmap with one byte; how many."""
    with open(image, "r+b") as file:
        cluster = 1 << _u32(file, 20)
        offset, length = _table(file, name)
        file.seek(offset)
        entries = struct.unpack(f">{length}Q", file.read(8 * length))
        clusters = [entry & _OFFSET for entry in entries if entry & _OFFSET]
        for at in clusters:
            file.seek(at)
            file.write(bytes([pattern]) * cluster)
    return len(clusters)


def _u32(file, offset):
    file.seek(offset)
    return struct.unpack(">I", file.read(4))[0]


def _table(file, name):
    """Offset and entries of the bitmap's table."""
    count, at = _directory(file)
    for _ in range(count):
        file.seek(at)
        offset, length, _, _, _, name_size, extra = struct.unpack(
            ">QIIBBHI", file.read(24))
        file.seek(at + 24 + extra)
        if file.read(name_size).decode() == name:
            return offset, length
        at += (24 + extra + name_size + 7) // 8 * 8
    raise KeyError(name)


def _directory(file):
    """How many bitmaps there are, and where they are listed."""
    at = _u32(file, 100)
    while True:
        file.seek(at)
        kind, length = struct.unpack(">II", file.read(8))
        if kind == _BITMAPS:
            count, _, _, offset = struct.unpack(">IIQQ", file.read(24))
            return count, offset
        assert kind, "no bitmaps in the image"
        at += 8 + (length + 7) // 8 * 8
