# SPDX-License-Identifier: GPL-2.0-or-later
"""What is no throughput of one full disk: many disks, holes, distance, rest.

A feat is a function of the bench that returns (name, value, unit, goal) for
each thing that it has found out; the goal is in words.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import time

import images
import qcow2bits
from deadline import DEADLINE, wait_for
from disk import Disk
from measure import forget
from place import full, mount, timed, where_for
from vm import Vm

KiB, MiB, GiB, TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def _memory(pids):
    """Resident memory of processes in MiB, without what they share."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            for line in file:
                if line.startswith("Private_"):
                    total += int(line.split()[1])
    return total / 1024


def _sleeps(pids):
    """How often each thread of the processes has slept of its own will."""
    found = {}
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status",
                      encoding="utf-8") as file:
                for line in file:
                    if line.startswith("voluntary_ctxt_switches"):
                        found[task] = int(line.split()[1])
    return found


def several_disks(bench):
    """Four disks of a VM read at once, against one of them; memory, too."""
    where = where_for(bench, "several")
    disks = [Disk(f"v{letter}", full(bench, f"{where}/{letter}.img"))
             for letter in "abcd"]
    with Vm(where, "web01", disks, paused=True) as vm, \
            mount(bench, where, vm.qmp_path) as mnt:
        paths = [mnt.join("web01", f"{disk.id}.raw") for disk in disks]
        one, four = [], []
        for _ in range(bench.rounds):
            for path in paths:
                forget(path)
            one.append(bench.size / timed(
                f"dd if={paths[0]} of=/dev/null bs=1M status=none"))
            forget(paths[0])
            all_of_them = " & ".join(
                f"dd if={path} of=/dev/null bs=1M status=none"
                for path in paths)
            four.append(4 * bench.size / timed(f"{all_of_them} & wait"))
        yield ("4 disks at once against 1",
               statistics.median(four) / statistics.median(one), "times",
               "at least 1")
        yield ("memory of the daemon after that", _memory(mnt.processes()),
               "MiB", "at most 64")
        mnt.umount()


def holes(bench):
    """1 TiB of which little is data, against a disk of just that data."""
    where = where_for(bench, "holes")
    image = images.create(f"{where}/va.img", size=TiB)
    source = full(bench, f"{where}/vb.img")
    share = bench.size // 16 // MiB
    for part in range(16):
        subprocess.run(
            f"dd if={source} of={image} bs=1M conv=notrunc status=none "
            f"count={share} skip={part * share} "
            f"seek={part * (TiB // 16 // MiB)}", shell=True, check=True)
    disks = [Disk("va", image), Disk("vb", source)]
    with Vm(where, "web01", disks, paused=True) as vm, \
            mount(bench, where, vm.qmp_path) as mnt:
        paths = [mnt.join("web01", f"{disk.id}.raw") for disk in disks]
        for name, command in (
                ("cp --sparse=always", "cp --sparse=always {} {}"),
                ("tar -S", "tar -Scf - {} 2>/dev/null | cat >{}")):
            times = {path: [] for path in paths + [image]}
            for _ in range(bench.rounds):
                for path in times:
                    forget(path)
                    times[path].append(timed(
                        command.format(path, f"{where}/target")))
                    os.unlink(f"{where}/target")
            what = f"{name} of 1 TiB with {bench.size // MiB} MiB of data"
            ours, other, plain = map(statistics.median, times.values())
            yield (f"{what}, against a full disk of that size", ours / other,
                   "times the time", "at most 1.3")
            yield (f"{what}, against the image itself", ours / plain,
                   "times the time", "")
        mnt.umount()


def delta(bench):
    """1 TiB of which little has changed, against a disk of just that data."""
    where = where_for(bench, "delta")
    image = images.create(f"{where}/va.img", "qcow2", TiB)
    source, share = full(bench, f"{where}/vb.img"), bench.size // 16
    with Vm(where, "web01", [Disk("va", image, "qcow2"),
                             Disk("vb", source)]) as vm:
        with mount(bench, where, vm.qmp_path, "chain=bench",
                   "disk=va") as mnt:
            mnt.control("commit web01")
            mnt.umount()
        for part in range(16):
            for at in range(0, share, 16 * MiB):
                vm.write("va", part * (TiB // 16) + at,
                         min(16 * MiB, share - at), 0x11 + part)
        with mount(bench, where, vm.qmp_path, "chain=bench",
                   "view=all") as mnt:
            times = {mnt.join("web01", name): []
                     for name in ("va.delta", "vb.raw")}
            for _ in range(bench.rounds):
                for path, found in times.items():
                    forget(path)
                    found.append(timed("cp --sparse=always "
                                       f"{path} {where}/target"))
                    os.unlink(f"{where}/target")
            ours, whole = map(statistics.median, times.values())
            yield (f"cp --sparse=always of a delta of {bench.size // MiB} MiB "
                   "in 1 TiB, against a full disk of that size",
                   ours / whole, "times the time", "at most 1.3")
            mnt.umount()


def map_of_many_extents(bench):
    """.dirty of a chain in which every second cluster has changed."""
    where = where_for(bench, "map")
    size = 64 * GiB
    image = images.create(f"{where}/va.img", "qcow2", size)
    with Vm(where, "web01", [Disk("va", image, "qcow2")]) as vm:
        with mount(bench, where, vm.qmp_path, "chain=bench") as mnt:
            mnt.control("commit web01")
            mnt.umount()
        name, = vm.bitmaps("va-fmt")
        vm.write("va", 0, 512, 0x11)
        vm.quit()
        assert qcow2bits.fill(image, name, 0x55) == 1
        vm.start()
        with mount(bench, where, vm.qmp_path, "chain=bench") as mnt:
            path, times = mnt.join("web01", "va.dirty"), []
            for _ in range(bench.rounds):
                forget(path)
                times.append(timed(f"cat {path} >/dev/null"))
            yield (".dirty of 1 Mi extents", statistics.median(times), "s",
                   "at most 0.5")
            mnt.umount()


@contextlib.contextmanager
def _many(bench, where, count, disks):
    """A directory of VMs whose guests stand still."""
    os.makedirs(f"{where}/run", exist_ok=True)
    with contextlib.ExitStack() as stack:
        for number in range(count):
            images_ = [images.create(f"{where}/{number}-{index}.img",
                                     size=16 * MiB)
                       for index in range(disks)]
            stack.enter_context(Vm(
                f"{where}/run", f"vm{number}",
                [Disk(f"v{'abcd'[index]}", path)
                 for index, path in enumerate(images_)],
                paused=True, memory="16M"))
        yield f"{where}/run"


def _mount_time(bench, where, source):
    """Until fleecefs has returned: then the mount stands."""
    start = time.monotonic()
    mnt = mount(bench, where, source, foreground=False, deadline=120)
    with mnt:
        seconds = time.monotonic() - start
        yield mnt, seconds


def mounting(bench):
    """From the command to the mount, and what it costs while nobody reads."""
    for count, disks, goal in ((1, 4, "at most 0.15"),
                               (bench.many, 2, "at most 2 for 50")):
        where = where_for(bench, f"mounting-{count}")
        with _many(bench, where, count, disks) as source:
            times = []
            for number in range(bench.rounds):
                for mnt, seconds in _mount_time(bench, where, source):
                    times.append(seconds)
                    if count > 1 and number == 0:
                        yield from _at_rest(mnt, count * disks)
                    mnt.umount()
            yield (f"mount, {count} VMs of {disks} disks",
                   statistics.median(times), "s", goal)


def _at_rest(mnt, disks):
    pids = mnt.processes()
    before, start = _sleeps(pids), time.monotonic()
    time.sleep(5)  # what is measured is what happens meanwhile
    after, seconds = _sleeps(pids), time.monotonic() - start
    rate = sum(count - before.get(task, count)
               for task, count in after.items()) / seconds
    yield f"{disks} disks at rest, wake-ups", rate, "a second", "at most 2"
    yield (f"{disks} disks at rest, memory", _memory(pids), "MiB",
           "at most 100 for 400")


def _far(bench, path):
    """How much faster the file is read than by one request at a time."""
    server, ours, theirs = f"{bench.tmp}/far.nbd", [], []
    for _ in range(bench.rounds):
        forget(path)
        ours.append(timed(f"dd if={path} of=/dev/null bs=1M status=none"))
        theirs.append(timed(
            "nbdcopy --synchronous --connections=1 --request-size=262144 "
            f"'nbd+unix:///?socket={server}' null:"))
    return statistics.median(theirs) / statistics.median(ours)


def distance(bench):
    """10 ms to what is read: each request takes that long, any number of them
    side by side.  An NBD server that far away, and a disk of a VM."""
    where = where_for(bench, "distance")
    server = f"{bench.tmp}/far.nbd"
    daemon = subprocess.Popen(
        ["nbdkit", "-f", "-U", server, "-t", "64", "--filter=delay",
         "--filter=cow", "pattern", "64M", "rdelay=10ms"])
    try:
        wait_for(lambda: os.path.exists(server), DEADLINE, "nbdkit")
        with mount(bench, where, f"nbd+unix:///?socket={server}",
                   "server=safe", scratch=False) as mnt:
            yield ("NBD server 10 ms away, against one request at a time",
                   _far(bench, mnt.join("nbd", "disk.raw")), "times",
                   "at least 8")
            mnt.umount()
        with Vm(where, "web01", args=[
                "-blockdev", "driver=nbd,node-name=va-fmt,server.type=unix,"
                f"server.path={server}",
                "-device", "virtio-blk-pci,id=va,drive=va-fmt"],
                paused=True) as vm, \
                mount(bench, where, vm.qmp_path) as mnt:
            yield ("disk of a VM 10 ms away, against one request at a time",
                   _far(bench, mnt.join("web01", "va.raw")), "times", "")
            mnt.umount()
    finally:
        daemon.terminate()
        daemon.wait()


FEATS = (several_disks, holes, delta, map_of_many_extents, mounting, distance)
