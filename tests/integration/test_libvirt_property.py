# SPDX-License-Identifier: GPL-2.0-or-later
"""Increments of a libvirt source never miss a block, whatever happens.

A copy of each disk is brought up to date with what .dirty says, round after
round, and has to be what .raw shows.  In between there are writes, commits or
none, deaths of fleecefs, of its guardian, of libvirtd, of QEMU, restarts and
hot-plugged disks.  With a living guest (guest.py) somebody writes at every
moment, the instant included.

FLEECEFS_TEST_ROUNDS: how many rounds in all (16); FLEECEFS_TEST_SEED.
"""

import os
import random
import signal
import subprocess

import pytest

import guest
import images
from deadline import wait_for
from test_libvirt import dirty_ranges, drive, guest_writes, read

ROUNDS = int(os.environ.get("FLEECEFS_TEST_ROUNDS", "16"))
SEED = os.environ.get("FLEECEFS_TEST_SEED", "1")
SIZE = 4 * images.MiB
RING = guest.Ring(slots=512, drives=2)
ENDS = ("commit", "commit", "commit", "umount", "killed", "all-killed",
        "commit-killed", "commit-all-killed")
EVENTS = ("none", "none", "none", "libvirtd", "libvirtd-killed", "restart",
          "qemu-killed", "hot-plug")


def apply(ranges, raw, copy):
    """The copy with these ranges of the new content."""
    new = bytearray(copy)
    for start, end in ranges:
        new[start:end] = raw[start:end]
    return bytes(new)


class Rounds:
    """A domain, and the committed copies of its disks."""

    def __init__(self, tmp, libvirt, mount_factory, living, rng):
        self.tmp, self.libvirt, self.rng = tmp, libvirt, rng
        self.mount_factory, self.living = mount_factory, living
        drives = [drive(tmp, target, size=SIZE,
                        extra=f"<boot order='{order}'/>")
                  for order, target in enumerate(("vda", "vdb"), 1)]
        if living:
            guest.install_qcow2(drives[0].image, RING)
        self.domain = libvirt.start("web01", drives)
        self.targets = ["vda", "vdb"]
        self.copies = {target: bytes(SIZE) for target in self.targets}
        self.committed = False
        self.counts_on = True   # the guest has not begun anew
        self.full, self.incremental, self.steps = 0, 0, []

    def say(self, *words):
        self.steps.append(" ".join(map(str, words)))

    def write(self):
        """Behind what the living guest writes to."""
        for _ in range(self.rng.randrange(4)):
            target = self.rng.choice(self.targets)
            start = self.rng.randrange(2048, SIZE // 1024) * 1024
            length = min(SIZE - start, self.rng.choice((512, 4096, 131072)))
            self.domain.write(target, start, length,
                              self.rng.randrange(1, 256))
            self.say("write", target, start, length)

    def night(self):
        """One snapshot, its copy, and its end."""
        number = len(self.steps)
        mnt = self.mount_factory(self.libvirt.uri, "chain=n",
                                 name=f"mnt{number}")
        if self.living:
            before = guest_writes(self.domain)
            wait_for(lambda: guest_writes(self.domain) > before + 5,
                     what="the guest to write")
        self.write()
        new = {target: self.copy(mnt, target) for target in self.targets}
        if self.living and self.counts_on:
            guest.same_instant([RING.newest(
                new[target][RING.offset:RING.offset + RING.length])
                for target in ("vda", "vdb")])
        end = self.rng.choice(ENDS)
        self.say("end", end)
        self.end(mnt, end)
        if "commit" in end:
            self.copies, self.committed = new, True
        assert self.domain.domstate().startswith("running"), self.steps

    def copy(self, mnt, target):
        raw = read(mnt.join("web01", f"{target}.raw"))
        ranges = dirty_ranges(mnt, target)
        reason = mnt.disk_status("web01", target)["reason"]
        self.say("copy", target, reason, ranges)
        if reason:
            self.full += 1
        else:
            self.incremental += 1
            assert self.committed
        copy = apply(ranges, raw, self.copies[target])
        wrong = [at for at in range(0, SIZE, 512)
                 if copy[at:at + 512] != raw[at:at + 512]]
        assert not wrong, (target, wrong[:8])
        return copy

    def end(self, mnt, end):
        if "commit" in end:
            mnt.control("commit web01")
        if "killed" not in end:
            mnt.umount()
            return
        mnt.kill(guardian="all" in end)
        wait_for(lambda: not mnt.processes(), what="the end of all")
        subprocess.run(["umount", "-l", mnt.path], check=False,
                       stderr=subprocess.DEVNULL)

    def event(self):
        """Something that happens between two nights."""
        event = self.rng.choice(EVENTS)
        self.say("event", event)
        if event.startswith("libvirtd"):
            self.libvirt.stop_daemon(signal.SIGKILL if "killed" in event else
                                     signal.SIGTERM)
            self.libvirt.start_daemon()
        elif event == "restart":
            self.domain.virsh("destroy", "--graceful")
            self.domain.start()
        elif event == "qemu-killed":
            os.kill(self.domain.pid, signal.SIGKILL)
            wait_for(lambda: self.domain.domstate().startswith("shut off"),
                     what="libvirt to see the end")
            self.domain.start()
        if event in ("restart", "qemu-killed"):
            self.counts_on = False
        if event == "hot-plug" and len(self.targets) == 2:
            self.plug()
        if self.living:
            wait_for(lambda: guest_writes(self.domain, "vdb") > 5,
                     what="the guest to write")

    def plug(self):
        late = drive(self.tmp, "vdc", size=SIZE)
        self.domain.virsh("attach-disk", late.image, "vdc", "--driver",
                          "qemu", "--subdriver", "qcow2", "--live",
                          "--config")
        self.targets.append("vdc")
        self.copies["vdc"] = bytes(SIZE)


def play(rounds, count):
    """All rounds; a failure tells its story."""
    try:
        for _ in range(count):
            rounds.write()
            rounds.night()
            rounds.event()
    except BaseException as error:
        error.add_note(f"FLEECEFS_TEST_SEED={SEED}\n" +
                       "\n".join(rounds.steps))
        raise


@pytest.mark.parametrize("living", [False, True], ids=["idle", "living"])
def test_increments_never_miss_a_block(tmp, libvirt, mount_factory, living):
    rounds = Rounds(tmp, libvirt, mount_factory, living,
                    random.Random(f"{SEED}-libvirt-{living}"))
    play(rounds, ROUNDS // 2)
    assert rounds.full and rounds.incremental, rounds.steps


def test_the_checker_sees_a_block_that_was_missed(
        tmp, libvirt, mount_factory, monkeypatch):
    """The negative control: a copy without its last dirty range."""
    rounds = Rounds(tmp, libvirt, mount_factory, False, random.Random("c"))
    rounds.event = lambda: None
    whole = apply
    monkeypatch.setitem(
        globals(), "apply", lambda ranges, raw, copy: whole(
            ranges if ranges == [(0, SIZE)] else ranges[:-1], raw, copy))
    with pytest.raises(AssertionError, match="vd"):
        play(rounds, 20)
