# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest that writes notices: the pause, and what its writes cost.

The guest is a boot sector that writes 32 KiB at a time, over all of its disks
in turn, and knows nothing else to do.
"""

import statistics
import time

import guest
import images
import scene
from measure import forget
from place import full, mount, where_for
from disk import Disk
from vm import Vm

SECTORS = 64
# bytes per second that a backup over a network takes
RATE = 100e6


def pause(bench):
    """How long a guest stands still for the instant."""
    for count in (1, 2, 8):
        where = where_for(bench, f"pause-{count}")
        pauses = []
        living = scene.build_living(
            where, lambda *words, **more: Vm(where, *words, **more).__enter__(),
            guest.Ring(drives=count))
        try:
            for _ in range(4 * bench.rounds):
                with mount(bench, where, living.vm.qmp_path) as mnt:
                    pauses.append(mnt.vm_status("web01")["pause_ms"] or 0)
                    mnt.umount()
        finally:
            living.vm.kill()
        yield (f"pause of a writing guest of {count} disks",
               statistics.median(pauses), "ms", "at most 5")


def _written(vm):
    return vm.block_stats("va")["wr_bytes"]


def _while_reading(vm, path, mnt):
    """MB/s that the guest writes while the whole disk is read, as fast as a
    network would take it, and the most scratch that there was."""
    start, before, peak, got = time.monotonic(), _written(vm), 0, 0
    with open(path, "rb", buffering=0) as file:
        while part := file.read(images.MiB):
            got += len(part)
            if got % (8 * images.MiB) == 0:
                peak = max(peak,
                           mnt.disk_status("web01", "va")["scratch_bytes"])
            time.sleep(max(start + got / RATE - time.monotonic(), 0))
    seconds = time.monotonic() - start
    return (_written(vm) - before) / seconds / 1e6, peak / images.MiB


def _at_rest(vm, seconds=2):
    """MB/s that it writes where there is no snapshot."""
    start, before = time.monotonic(), _written(vm)
    time.sleep(seconds)  # what is measured is what it does meanwhile
    return (_written(vm) - before) / (time.monotonic() - start) / 1e6


def writes(bench):
    """What the guest still writes while its disk is read."""
    where = where_for(bench, "writes")
    image = full(bench, f"{where}/va.img")
    first = guest.FIRST_LBA
    guest.install(image, guest.Ring(first, (bench.size // 512 - first)
                                    // SECTORS, SECTORS))
    ways = {"": [], "read_once": []}
    alone = []
    with Vm(where, "web01", [Disk("va", image, boot=1)]) as vm:
        guest.wait_progress(vm, "va")
        for _ in range(bench.rounds):
            alone.append(_at_rest(vm))
            for word, found in ways.items():
                with mount(bench, where, vm.qmp_path,
                           *filter(None, [word])) as mnt:
                    path = mnt.join("web01", "va.raw")
                    found.append(_while_reading(vm, path, mnt))
                    forget(path)
                    mnt.umount()
    rates = {word: statistics.median(rate for rate, _ in found)
             for word, found in ways.items()}
    peaks = {word: statistics.median(peak for _, peak in found)
             for word, found in ways.items()}
    yield ("a guest's writes while its disk is read, against no snapshot",
           rates[""] / statistics.median(alone), "times", "")
    yield ("the same with read_once, against without",
           rates["read_once"] / rates[""], "times", "at least 1")
    yield "most scratch, without read_once", peaks[""], "MiB", ""
    yield ("most scratch, with read_once", peaks["read_once"], "MiB",
           "far less")


FEATS = (pause, writes)
