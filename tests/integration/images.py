# SPDX-License-Identifier: GPL-2.0-or-later
"""Images with known content, made with qemu-img and qemu-io.

All data is seeded, so a failing test can be run again.  An image's content
is what a guest would read: content_sha() computes it for a VM that does not
run, with qemu-img and nothing of ours.
"""

import hashlib
import os
import random
import subprocess
import tempfile

KiB, MiB = 1 << 10, 1 << 20
SIZE = 16 * MiB
PATTERN_SIZE = 64 * MiB
KINDS = ("raw", "qcow2", "qcow2-backing")

# Where make() puts random data, as fractions of the size: away from the
# tables below on a disk of PATTERN_SIZE.
FIRST, SECOND, THIRD = 5 / 32, 20 / 32, 26 / 32

# QEMU's own table for fleecing tests (its iotest image-fleecing), on a disk of
# PATTERN_SIZE, as (pattern, offset, length): what the disk holds at the instant, what the
# guest then overwrites, what stays zero, and what the overwrites left.
PATTERNS = ((0x5d, 0, 64 * KiB),
            (0xd5, 1 * MiB, 64 * KiB),
            (0xdc, 32 * MiB, 64 * KiB),
            (0xcd, 64 * MiB - 64 * KiB, 64 * KiB))
OVERWRITES = ((0xab, 0, 64 * KiB),                          # full
              (0xad, 1 * MiB - 32 * KiB, 64 * KiB),         # partial-left
              (0x1d, 32 * MiB + 32 * KiB, 64 * KiB),        # partial-right
              (0xea, 64 * MiB - 128 * KiB, 64 * KiB))       # adjacent-left
ZEROES = ((0, 1 * MiB - 32 * KiB, 32 * KiB),                # of partial-left
          (0, 32 * MiB + 64 * KiB, 32 * KiB),               # of partial-right
          (0, 64 * MiB - 128 * KiB, 64 * KiB))              # of adjacent-left
REMAINDER = ((0xd5, 1 * MiB + 32 * KiB, 32 * KiB),
             (0xdc, 32 * MiB, 32 * KiB),
             (0xcd, 64 * MiB - 64 * KiB, 64 * KiB))

# Ours: small and odd ones, far from anything allocated and at cluster edges.
MORE_OVERWRITES = ((0x71, 8 * MiB, 512),                    # unallocated
                   (0x72, 8 * MiB + 64 * KiB - 512, 1024),  # over an edge
                   (0x73, 16 * MiB, 3 * 64 * KiB),          # whole clusters
                   (0x74, 24 * MiB + 4096, 1 * MiB),        # many, unaligned
                   (0x75, 48 * MiB - 512, 512),             # before an edge
                   (0x76, 40 * MiB + 12800, 256 * KiB))     # over data

ALL_OVERWRITES = OVERWRITES + MORE_OVERWRITES


def run(*command):
    """Run a tool to its end; its output is in the error if it fails."""
    done = subprocess.run([str(word) for word in command],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def fmt_of(kind):
    """The QEMU driver of an image kind."""
    return "raw" if kind == "raw" else "qcow2"


def create(path, fmt="raw", size=SIZE, backing=None, backing_fmt="qcow2"):
    """An empty image; a raw one may have a size that is no multiple of 512."""
    if fmt == "raw":
        with open(path, "wb") as file:
            file.truncate(size)
        return str(path)
    args = ["-b", backing, "-F", backing_fmt] if backing else []
    run("qemu-img", "create", "-q", "-f", fmt, *args, path, size)
    return str(path)


def write_patterns(path, fmt, patterns):
    """Write (pattern, offset, length) entries with qemu-io."""
    commands = []
    for pattern, offset, length in patterns:
        verb = f"-P {pattern}" if pattern else "-z"
        commands += ["-c", f"write {verb} {offset} {length}"]
    run("qemu-io", "-f", fmt, *commands, path)


def write_random(path, fmt, offset, length, seed):
    """Fill a range with bytes that follow from the seed."""
    data = random.Random(seed).randbytes(length)
    if fmt == "raw":
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)
        return
    with tempfile.NamedTemporaryFile() as source:
        source.write(data)
        source.flush()
        run("qemu-io", "-f", fmt, "-c",
            f"write -s {source.name} {offset} {length}", path)


def make(kind, path, size=SIZE, seed=1, patterns=()):
    """An image of a kind with random and pattern data and holes.

    "qcow2-backing" has data in both layers, an overlay over part of the
    backing file's, and zero clusters over some of it.
    """
    fmt = fmt_of(kind)
    if kind == "qcow2-backing":
        base = create(f"{path}.base", "qcow2", size)
        write_random(base, "qcow2", *part(size, FIRST), seed)
        write_random(base, "qcow2", *part(size, SECOND), seed + 1)
        create(path, "qcow2", size, backing=base)
        start, length = part(size, SECOND)
        write_patterns(path, fmt, [(0, start + length // 2, 64 * KiB),
                                   (0x42, start + 64 * KiB, 4 * KiB)])
    else:
        create(path, fmt, size)
        write_random(path, fmt, *part(size, FIRST), seed)
    write_random(path, fmt, *part(size, THIRD), seed + 2)
    if patterns:
        write_patterns(path, fmt, patterns)
    return str(path)


def part(size, where):
    """A range of up to 1 MiB, with odd edges in sectors, at a fraction."""
    start = int(size * where) // 512 * 512 + 3 * 512
    return start, min(1 * MiB - 7 * 512, (size - start) // 512 * 512)


def to_raw(path, fmt, target):
    """The content that a guest would read, as a raw file."""
    run("qemu-img", "convert", "-U", "-f", fmt, "-O", "raw", path, target)
    return str(target)


def check(path):
    """A qcow2 image has no error; space may be lost where QEMU was killed."""
    done = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(path)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)
    assert done.returncode in (0, 3), done.stdout


def content_sha(path, fmt):
    """SHA-256 of the guest-visible content; the VM must not be running."""
    with tempfile.TemporaryDirectory(prefix="flt-", dir="/tmp") as tmp:
        return sha256(to_raw(path, fmt, os.path.join(tmp, "content")))


def virtual_size(path, fmt):
    """The size a guest sees: a raw image's is rounded up to 512."""
    if fmt == "raw":
        return -(-os.path.getsize(path) // 512) * 512
    for line in run("qemu-img", "info", "-U", "-f", fmt, path).splitlines():
        if line.startswith("virtual size:"):
            return int(line.split("(")[1].split()[0])
    raise AssertionError(f"no virtual size: {path}")


def sha256(path, block=MiB):
    """SHA-256 of a whole file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(block):
            digest.update(data)
    return digest.hexdigest()
