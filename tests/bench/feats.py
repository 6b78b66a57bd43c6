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
from mount import Mount
from vm import Vm

KiB, MiB, GiB, TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def _timed(command):
    start = time.monotonic()
    subprocess.run(command, shell=True, check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def _where(bench, name):
    """A directory of its own for each feat."""
    path = os.path.join(bench.tmp, name)
    os.makedirs(path)
    return path


def _mount(bench, where, source, *words, **more):
    return Mount(where, source, f"scratch={bench.tmp}", *bench.words, *words,
                 **more)


def _full(bench, path):
    shutil.copyfile(bench.image("own"), path)
    return path


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
    where = _where(bench, "several")
    disks = [Disk(f"v{letter}", _full(bench, f"{where}/{letter}.img"))
             for letter in "abcd"]
    with Vm(where, "web01", disks, paused=True) as vm, \
            _mount(bench, where, vm.qmp_path) as mnt:
        paths = [mnt.join("web01", f"{disk.id}.raw") for disk in disks]
        one, four = [], []
        for _ in range(bench.rounds):
            for path in paths:
                forget(path)
            one.append(bench.size / _timed(
                f"dd if={paths[0]} of=/dev/null bs=1M status=none"))
            forget(paths[0])
            all_of_them = " & ".join(
                f"dd if={path} of=/dev/null bs=1M status=none"
                for path in paths)
            four.append(4 * bench.size / _timed(f"{all_of_them} & wait"))
        yield ("4 disks at once against 1",
               statistics.median(four) / statistics.median(one), "times",
               "at least 1")
        yield ("memory of the daemon after that", _memory(mnt.processes()),
               "MiB", "at most 64")
        mnt.umount()


def holes(bench):
    """1 TiB of which little is data, against a disk of just that data."""
    where = _where(bench, "holes")
    image = images.create(f"{where}/va.img", size=TiB)
    source = _full(bench, f"{where}/vb.img")
    share = bench.size // 16 // MiB
    for part in range(16):
        subprocess.run(
            f"dd if={source} of={image} bs=1M conv=notrunc status=none "
            f"count={share} skip={part * share} "
            f"seek={part * (TiB // 16 // MiB)}", shell=True, check=True)
    disks = [Disk("va", image), Disk("vb", source)]
    with Vm(where, "web01", disks, paused=True) as vm, \
            _mount(bench, where, vm.qmp_path) as mnt:
        paths = [mnt.join("web01", f"{disk.id}.raw") for disk in disks]
        for name, command in (
                ("cp --sparse=always", "cp --sparse=always {} {}"),
                ("tar -S", "tar -Scf - {} 2>/dev/null | cat >{}")):
            times = {path: [] for path in paths + [image]}
            for _ in range(bench.rounds):
                for path in times:
                    forget(path)
                    times[path].append(_timed(
                        command.format(path, f"{where}/target")))
                    os.unlink(f"{where}/target")
            what = f"{name} of 1 TiB with {bench.size // MiB} MiB of data"
            ours, full, plain = map(statistics.median, times.values())
            yield (f"{what}, against a full disk of that size", ours / full,
                   "times the time", "at most 1.3")
            yield (f"{what}, against the image itself", ours / plain,
                   "times the time", "")
        mnt.umount()


def map_of_many_extents(bench):
    """.dirty of a chain in which every second cluster has changed."""
    where = _where(bench, "map")
    size = 64 * GiB
    image = images.create(f"{where}/va.img", "qcow2", size)
    with Vm(where, "web01", [Disk("va", image, "qcow2")]) as vm:
        with _mount(bench, where, vm.qmp_path, "chain=bench") as mnt:
            mnt.control("commit web01")
            mnt.umount()
        name, = vm.bitmaps("va-fmt")
        vm.write("va", 0, 512, 0x11)
        vm.quit()
        assert qcow2bits.fill(image, name, 0x55) == 1
        vm.start()
        with _mount(bench, where, vm.qmp_path, "chain=bench") as mnt:
            path, times = mnt.join("web01", "va.dirty"), []
            for _ in range(bench.rounds):
                forget(path)
                times.append(_timed(f"cat {path} >/dev/null"))
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
    mnt = _mount(bench, where, source, foreground=False, deadline=120)
    with mnt:
        seconds = time.monotonic() - start
        yield mnt, seconds


def mounting(bench):
    """From the command to the mount, and what it costs while nobody reads."""
    for count, disks, goal in ((1, 4, "at most 0.15"),
                               (bench.many, 2, "at most 2 for 50")):
        where = _where(bench, f"mounting-{count}")
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


def pause(bench):
    """How long the guest of two disks stands still for the instant."""
    where = _where(bench, "pause")
    disks = [Disk(f"v{letter}", images.create(f"{where}/{letter}.img"))
             for letter in "ab"]
    pauses = []
    with Vm(where, "web01", disks) as vm:
        for _ in range(4 * bench.rounds):
            with _mount(bench, where, vm.qmp_path) as mnt:
                pauses.append(mnt.vm_status("web01")["pause_ms"])
                mnt.umount()
    yield ("pause of a guest of 2 disks", statistics.median(pauses), "ms",
           "at most 5")


def distance(bench):
    """A server 10 ms away: each read of the disk takes that long, any number
    of them side by side; against one request after the other."""
    where = _where(bench, "distance")
    server = f"{where}/far"
    daemon = subprocess.Popen(
        ["nbdkit", "-f", "-U", server, "-t", "64", "--filter=delay",
         "--filter=cow", "pattern", "64M", "rdelay=10ms"])
    try:
        wait_for(lambda: os.path.exists(server), DEADLINE, "nbdkit")
        with Vm(where, "web01", args=[
                "-blockdev", "driver=nbd,node-name=va-fmt,server.type=unix,"
                f"server.path={server}",
                "-device", "virtio-blk-pci,id=va,drive=va-fmt"],
                paused=True) as vm, \
                _mount(bench, where, vm.qmp_path) as mnt:
            path, ours, theirs = mnt.join("web01", "va.raw"), [], []
            for _ in range(bench.rounds):
                forget(path)
                ours.append(_timed(
                    f"dd if={path} of=/dev/null bs=1M status=none"))
                theirs.append(_timed(
                    "nbdcopy --synchronous --connections=1 --request-size="
                    f"262144 'nbd+unix:///?socket={server}' null:"))
            yield ("10 ms away, against one request after the other",
                   statistics.median(theirs) / statistics.median(ours),
                   "times", "at least 8")
            mnt.umount()
    finally:
        daemon.terminate()
        daemon.wait()


FEATS = (several_disks, holes, map_of_many_extents, mounting, pause, distance)
