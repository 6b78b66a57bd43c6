# SPDX-License-Identifier: GPL-2.0-or-later
"""What every measurement beside the throughput needs: a place, and a mount."""

import os
import shutil
import subprocess
import time

from mount import Mount


def timed(command):
    """Seconds that a shell command takes."""
    start = time.monotonic()
    subprocess.run(command, shell=True, check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def where_for(bench, name):
    """A directory of its own, as long as the feat lasts."""
    path = os.path.join(bench.tmp, name)
    os.makedirs(path)
    bench.places.append(path)
    return path


def leave(bench):
    """Take away what the feat has made: the next needs the room."""
    while bench.places:
        shutil.rmtree(bench.places.pop())


def mount(bench, where, source, *words, scratch=True, **more):
    """Scratch is where the disks are; some sources need none."""
    if scratch:
        words = (f"scratch={bench.tmp}", *words)
    return Mount(where, source, *bench.words, *words, **more)


def full(bench, path):
    """A full disk of random bytes."""
    shutil.copyfile(bench.image("own"), path)
    return path
