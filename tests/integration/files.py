# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls on files of a mount that Python has no good word for."""

import ctypes
import errno
import os

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE = 1, 2, 8
ZERO_RANGE, INSERT_RANGE, UNSHARE_RANGE = 16, 32, 64

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64,
                            ctypes.c_int64)


def fallocate(fd, mode, offset, length):
    """fallocate(2); OSError as the kernel says."""
    if _libc.fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def punch(fd, offset, length):
    """Free a range, as a backup program does with what it has stored."""
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)


def read_at(path, offset, length):
    """The bytes of one pread(2)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def data_map(path):
    """The file's data ranges [(start, end), …] by SEEK_DATA, SEEK_HOLE."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size, ranges, at = os.fstat(fd).st_size, [], 0
        while at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break
            at = os.lseek(fd, start, os.SEEK_HOLE)
            assert at > start, (start, at)
            ranges.append((start, at))
        return ranges
    finally:
        os.close(fd)


def error_of(call, *args, **kwargs):
    """The name of the errno that a call fails with, or "none"."""
    try:
        call(*args, **kwargs)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return "EOPNOTSUPP"     # Python may call it ENOTSUP
        return errno.errorcode.get(error.errno, error.errno)
    return "none"


def open_error(path, flags, mode=0o600):
    """The same for an open(2); what it opened is closed again."""
    return error_of(lambda: os.close(os.open(path, flags, mode)))


def parse_mapfile(text):
    """The blocks [(start, length, status), …] of a GNU ddrescue mapfile."""
    lines = [line.split() for line in text.splitlines()
             if line and not line.startswith("#")]
    assert lines, text
    assert lines[0][1] in tuple("?*/-F G+".replace(" ", "")), lines[0]
    return [(int(start, 0), int(length, 0), status)
            for start, length, status in lines[1:]]
