# SPDX-License-Identifier: GPL-2.0-or-later
"""Nights of a backup, one after the other, of a world in which all happens.

A round is: something happens to the VM; the guest writes; a snapshot of one
of two chains is taken, compared with what the model foretold, brought into
that chain's copy and compared with it; then it is committed, or not, or
somebody dies; and QEMU has exactly the bitmaps that it should have.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
from dataclasses import dataclass

import chain
from chain_world import Writer, choose
from deadline import wait_for
from files import data_map, error_of
from mount import Mount

CHAINS = ("nightly", "B-2_x")
EVENTS = {"nothing": 60, "resize": 8, "plug": 9, "unplug": 6, "restart": 6,
          "kill_qemu": 4}
ENDS = {"commit": 50, "release": 16, "umount": 5, "commit_and_kill": 4,
        "kill_while_committing": 6, "kill_daemon": 6, "kill_both": 5,
        "kill_guardian": 3, "qemu_quits": 3, "qemu_dies": 3}


@dataclass(frozen=True)
class Group:
    """How one chain's snapshots are asked for."""
    chain: str
    keep: int
    view: str
    since: str = None
    fallback: bool = False

    @property
    def vm(self):
        """The VM directory; always the same, it may be in the identity."""
        return f"web-{self.chain}"

    def words(self):
        """As options or as lines of a .conf."""
        words = [f"chain={self.chain}", f"keep={self.keep}",
                 f"view={self.view}"]
        if self.since:
            words.append(f"since={self.since}")
        return words + (["fallback=full"] if self.fallback else [])


class Session:
    """A mount for some rounds: of one chain, or a .conf with both."""

    def __init__(self, world, method, groups):
        self.groups = groups
        source, words = world.vm.qmp_path, []
        if len(groups) == 1:
            words = [f"name={groups[0].vm}", *groups[0].words()]
        else:
            source = f"{world.tmp}/site.conf"
            with open(source, "w", encoding="ascii") as file:
                for group in groups:
                    print(f"[{group.vm}]", f"qmp={world.vm.qmp_path}",
                          *group.words(), sep="\n", file=file)
        self.mount = Mount(world.tmp, source, "snapshot=mkdir",
                           f"method={method}", *words)

    def path(self, group, *names):
        return self.mount.join(group.vm, *names)


class Rounds:
    """The rounds in one world; a context manager around its mounts."""

    def __init__(self, world, method):
        self.world, self.method = world, method
        self.rng, self.model = world.rng, world.model
        self.session = self.last = None
        self.leftover = False   # somebody died and nobody has cleaned up
        self.steps = []
        self.copies = {}        # (chain, instant, disk id) -> path
        self.done = dict.fromkeys(("rounds", "incremental", "full",
                                   "dirty", "refused"), 0)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, *exc):
        if self.session and exc_type:
            self.session.mount.cleanup()
        elif self.session:
            self.umount()

    def say(self, *words):
        self.steps.append(" ".join(map(str, words)))

    def round(self):
        """One night."""
        self.done["rounds"] += 1
        self.say(f"round {self.done['rounds']}:")
        getattr(self, f"event_{choose(self.rng, EVENTS)}")()
        session = self._session()
        group = self.rng.choice(session.groups)
        if self.rng.random() < 0.85:
            self.world.burst()
        with contextlib.ExitStack() as stack:
            writer = None
            if self.rng.random() < 0.5:
                writer = stack.enter_context(
                    Writer(self.world, self.rng.randrange(1 << 30)))
            self._night(stack, session, group, writer)
        self.model.end()
        self.check()

    # What happens before.

    def event_nothing(self):
        """A quiet day."""

    def event_restart(self):
        self.say("QEMU restarts")
        self.world.restart(clean=True)

    def event_kill_qemu(self):
        self.say("QEMU is killed")
        self.world.restart(clean=False)

    def event_resize(self):
        if not self.leftover:
            disk = self.rng.choice(self.model.plugged())
            self.say(disk.id, self.world.resize(disk))

    def event_plug(self):
        out = [disk for disk in self.model.disks.values()
               if not disk.plugged]
        if out and not self.leftover:
            disk = self.rng.choice(out)
            self.say("plug", disk.id, disk.fmt)
            self.world.plug(disk)

    def event_unplug(self):
        disk = self.model.disks["vh"]
        if disk.plugged and not self.leftover:
            self.say("unplug", disk.id)
            self.world.unplug(disk)

    def _session(self):
        if self.session and self.rng.random() < 0.25:
            self.umount()
        if not self.session:
            groups = [self._group(name) for name in self.rng.sample(
                CHAINS, self.rng.choice((1, 1, 2)))]
            self.say("mount", *groups)
            self.session = self.last = Session(self.world, self.method,
                                               groups)
            self.session.mount.__enter__()
        return self.session

    def _group(self, name):
        instants = sorted({point.instant
                           for disk in self.model.disks.values()
                           for point in disk.of(name)})
        since = None
        if instants and self.rng.random() < 0.2:
            since = self.rng.choice(instants)
        return Group(name, self.rng.randint(1, 3),
                     choose(self.rng, {"raw": 6, "all": 3, "delta": 2}),
                     since, bool(since) and self.rng.random() < 0.5)

    def umount(self):
        """umount(8), which releases what stands."""
        session, self.session = self.session, None
        session.mount.umount()

    # The snapshot.

    def _night(self, stack, session, group, writer):
        expected = self.model.predict(group.chain, group.since,
                                      group.fallback)
        truth = self._take(session, group, writer, expected)
        if expected is None:
            self.say("refused, as it has to be")
            self.done["refused"] += 1
            return
        self.leftover = False
        # of what was written by now, some was after the instant
        with self.model.lock:
            touched = {disk.id: self._touched(disk, group,
                                              expected[disk.id].base)
                       for disk in self.model.plugged()}
        if writer and self.rng.random() < 0.5:
            writer.wait_progress()
        night = Night(self, session, group, expected)
        night.check_facts()
        for disk in self.model.plugged():
            night.check_disk(disk, truth.get(disk.id), touched[disk.id])
        end = choose(self.rng, ENDS)
        self.say(end)
        if end.startswith("qemu"):
            stack.close()
        getattr(self, f"end_{end}")(night)
        night.keep_or_drop()

    def _touched(self, disk, group, base):
        point = disk.find(group.chain, base)
        return set(point.touched) if point and not disk.living else None

    def _take(self, session, group, writer, expected):
        """mkdir; what the disks held at the instant, where that is known."""
        quiet = group.view == "delta" or self.rng.random() < 0.15
        self.say("take", group.chain, "quietly" if quiet else "",
                 "with a writer" if writer else "")
        with contextlib.ExitStack() as stack:
            if quiet and self.world.living:
                stack.enter_context(self.world.still())
            if writer and quiet:
                writer.pause()
                stack.callback(writer.resume)
            if expected is not None:
                self.model.begin(group.chain)
            truth = self._truth(quiet)
            said = error_of(os.mkdir, session.path(group))
            if said == "EBUSY" and quiet and self.leftover:
                self._let_run(session)
                truth = self._truth(quiet)
                said = error_of(os.mkdir, session.path(group))
            wanted = "none" if expected is not None else "ENOENT"
            assert said == wanted, (said, expected, session.mount.report())
        return truth

    def _truth(self, quiet):
        return {disk.id: self.world.content(disk) if quiet else None
                for disk in self.model.plugged()}

    def _let_run(self, session):
        """The export of the dead has kept a disk of the stopped guest in its
        iothread."""
        assert "is in its iothread" in session.mount.stderr()
        self.say("refused: a disk is in its iothread")
        self.world.run_once()

    # How it ends.

    def end_commit(self, night):
        """The good end, sometimes after a commit that has to wait."""
        force = ""
        if self.rng.random() < 0.15:
            force = " --force" if self.rng.random() < 0.5 else ""
            with open(night.data_file(), "rb"):
                said = error_of(night.commit, force)
                assert said == ("none" if force else "EBUSY"), said
        if not force:
            night.commit()
        if self.rng.random() < 0.1:
            night.commit()
        night.committed()
        os.rmdir(night.session.path(night.group))

    def end_release(self, night):
        os.rmdir(night.session.path(night.group))

    def end_umount(self, _night):
        """The snapshot stands when the mount ends."""
        self.umount()

    def end_commit_and_kill(self, night):
        """What is committed stays, whoever dies then."""
        night.commit()
        night.committed()
        self.end_kill_daemon(night)

    def end_kill_daemon(self, _night):
        """The guardian cleans up."""
        mnt = self.session.mount
        os.kill(mnt.pid, signal.SIGKILL)
        wait_for(lambda: not mnt.processes(), what="the guardian's end")
        assert not mnt.mounted(), mnt.report()
        self.session = None

    def end_kill_both(self, _night):
        """The next snapshot cleans up, whoever takes it."""
        mnt = self.session.mount
        mnt.kill()
        mnt.cleanup()
        self.session, self.leftover = None, True

    def end_kill_guardian(self, night):
        """The daemon goes on without."""
        for pid in self._guardians():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._guardians(), what="the guardian's end")
        if self.rng.random() < 0.5:
            self.end_commit(night)
        self.umount()

    def _guardians(self):
        mnt = self.session.mount
        return [pid for pid in mnt.processes() if pid != mnt.pid]

    def end_kill_while_committing(self, night):
        """All disks or none; what the daemon said to be done is done."""
        said = []
        thread = threading.Thread(
            target=lambda: said.append(error_of(night.commit)))
        thread.start()
        threading.Event().wait(self.rng.uniform(0, 0.05))
        self.end_kill_daemon(night)
        thread.join(60)
        with self.world.vm.qmp() as session:
            bitmaps = chain.node_bitmaps(session)
        there = {any(one.instant == night.instant and not one.pending
                     for one in chain.checkpoints(bitmaps[disk.node],
                                                  night.group.chain))
                 for disk in self.model.plugged()}
        assert len(there) == 1, (there, bitmaps)
        self.say("the commit", said, there)
        assert there == {True} or said != ["none"], said
        if there == {True}:
            night.committed()

    def end_qemu_quits(self, night):
        """In order, with a snapshot: what is pending is in the image."""
        self._qemu_ends(night, clean=True)

    def end_qemu_dies(self, night):
        self._qemu_ends(night, clean=False)

    def _qemu_ends(self, night, clean):
        self.leftover = True
        if self.rng.random() < 0.5:
            night.commit()
            night.committed()
        if self.rng.random() < 0.5:
            self.world.restart(clean)
            os.rmdir(night.session.path(night.group))
        else:
            if self.rng.random() < 0.3:
                self.umount()
            self.world.restart(clean)
            if self.session:
                os.rmdir(night.session.path(night.group))

    # What QEMU must have afterwards.

    def check(self):
        """Exactly the checkpoints of the model, and the others' bitmaps."""
        with self.world.vm.qmp() as session:
            bitmaps = chain.node_bitmaps(session)
        for disk in self.model.plugged():
            self._check_checkpoints(disk, bitmaps[disk.node])
        self.world.check_foreign(bitmaps)
        if not self.leftover:
            assert not self.world.leftovers()

    def _check_checkpoints(self, disk, bitmaps):
        for name in CHAINS:
            found = chain.checkpoints(bitmaps, name)
            assert self.leftover or not [one for one in found
                                         if one.pending], found
            committed = {one.instant: one for one in found
                         if not one.pending}
            points = {one.instant: one for one in disk.of(name)}
            assert committed.keys() == points.keys(), (disk, found)
            for instant, one in committed.items():
                _check_checkpoint(disk, points[instant], one,
                                  bitmaps[one.name])


def _check_checkpoint(disk, point, one, info):
    assert (one.size, one.content) == (point.size, point.content), (one, point)
    assert info["persistent"] == disk.keeps, info
    assert info["recording"] != point.broken, (info, point)
    assert info.get("inconsistent", False) == point.broken, (info, point)
    assert info["granularity"] == chain.CLUSTER and not info["busy"], info


class Night:
    """One snapshot that stands."""

    def __init__(self, rounds, session, group, expected):
        self.rounds, self.session, self.group = rounds, session, group
        self.rng, self.model = rounds.rng, rounds.model
        self.expected = expected
        with open(session.path(group, "vm.json"), encoding="utf-8") as file:
            self.facts = json.load(file)
        self.instant = self.facts["instant"]
        self.disks = {disk["id"]: disk for disk in self.facts["disks"]}
        self.work = {}          # disk id -> the copy of this night
        self.is_committed = False

    def data_file(self):
        """The path of one of its data files."""
        suffix = "delta" if self.group.view == "delta" else "raw"
        return self.session.path(self.group,
                                 f"{self.rng.choice(list(self.disks))}."
                                 f"{suffix}")

    def commit(self, words=""):
        self.session.mount.control(f"commit {self.group.vm}{words}")

    def committed(self):
        """Tell the model; the copy of this night is the chain's base now."""
        contents = {disk_id: disk["content"]
                    for disk_id, disk in self.disks.items()}
        self.model.commit(self.group.chain, self.instant, contents,
                          self.group.keep)
        self.is_committed = True

    def check_facts(self):
        """vm.json says what the model foretold."""
        newest = self.model.newest(self.group.chain)
        assert newest is None or self.instant > newest, (self.instant, newest)
        assert self.facts["chain"] == self.group.chain
        assert self.disks.keys() == self.expected.keys()
        for disk_id, wanted in self.expected.items():
            disk, model = self.disks[disk_id], self.model.disks[disk_id]
            self.rounds.say(disk_id, disk["mode"], disk["reason"])
            found = disk["mode"], disk["reason"], disk["base"]
            assert found == (wanted.mode, wanted.reason, wanted.base), (
                disk, wanted)
            assert disk["size"] == model.size, disk
            self._check_content(disk, model)
            self.rounds.done[wanted.mode] += 1

    def _check_content(self, disk, model):
        """An unchanged disk's content is as old as its base's."""
        wanted = self.instant
        if disk["base"] and disk["dirty"] == 0:
            wanted = model.find(self.group.chain, disk["base"]).content
        assert disk["content"] == wanted, (disk, wanted)

    def check_disk(self, disk, truth, touched):
        """Its map, its data and the copy that is made of them."""
        blocks = chain.read_map(self._file(disk, "dirty"))
        assert sum(length for _, length, _ in blocks) == disk.size
        ranges = chain.dirty(blocks)
        assert sum(length for _, length in ranges) == \
            self.disks[disk.id]["dirty"]
        if self.expected[disk.id].mode == "full":
            assert ranges == [(0, disk.size)], blocks
        elif touched is not None:
            extra = chain.dirty_clusters(blocks) - touched
            assert not extra, (disk.id, "clean, but dirty", sorted(extra))
        self.rounds.done["dirty"] += len(ranges)
        content = self._content(disk, truth)
        if self.group.view != "raw":
            self._check_delta(disk, ranges, content)
        if self.rng.random() < 0.1:
            self._check_json(disk, ranges)
        self._bring_up_to_date(disk, ranges, content)

    def _file(self, disk, suffix):
        return self.session.path(self.group, f"{disk.id}.{suffix}")

    def _words(self, disk, truth, cluster):
        """The first number of each 8 KiB of a cluster: what it should be,
        what a fresh read shows, and what is on the disk now."""
        with open(self._file(disk, "raw"), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            shown = file.read(disk.size)
        return [[int.from_bytes(data[at:at + 4], "little") for at in range(
            cluster * chain.CLUSTER, (cluster + 1) * chain.CLUSTER, 8192)]
            for data in (truth, shown, self.rounds.world.content(disk))]

    def _content(self, disk, truth):
        """The disk at the instant."""
        is_there = os.path.exists(self._file(disk, "raw"))
        assert is_there == (self.group.view != "delta")
        if not is_there:
            return truth
        with open(self._file(disk, "raw"), "rb") as file:
            content = file.read()
        if truth is not None:
            differ = chain.different_clusters(content, truth)
            assert not differ, (disk.id, "not that instant", differ,
                                self._words(disk, truth, differ[0]))
        return content

    def _check_delta(self, disk, ranges, content):
        """What is dirty is there, even if it is zeros; the rest is a hole."""
        path = self._file(disk, "delta")
        wanted = bytearray(disk.size)
        for start, length in ranges:
            wanted[start:start + length] = content[start:start + length]
        with open(path, "rb") as file:
            differ = chain.different_clusters(file.read(), wanted)
        assert not differ, (disk.id, "delta", differ)
        assert data_map(path) == chain.merged(ranges)
        assert os.stat(path).st_blocks * 512 == sum(
            length for _, length in ranges)

    def _check_json(self, disk, ranges):
        with open(self._file(disk, "dirty.json"), encoding="utf-8") as file:
            blocks = json.load(file)
        assert chain.merged((block["offset"], block["length"])
                            for block in blocks if block["dirty"]) == \
            chain.merged(ranges)

    def _bring_up_to_date(self, disk, ranges, content):
        """A copy of the base and what is dirty are the whole disk."""
        work = f"{self.rounds.world.tmp}/{disk.id}.work"
        shutil.copyfile(self._base_copy(disk), work)
        source = self._file(disk, "raw")
        if self.group.view == "delta" or (self.group.view == "all" and
                                          self.rng.random() < 0.5):
            source = self._file(disk, "delta")
        if self.rng.random() < 0.15:
            words = self.rng.choice((chain.WITH_MAP, chain.WITHOUT_MAP))
            chain.ddrescue(words, self._file(disk, "dirty"), source, work,
                           disk.size)
        else:
            chain.apply(ranges, source, work, disk.size)
        with open(work, "rb") as file:
            differ = chain.different_clusters(file.read(), content)
        assert not differ, (disk.id, "missed", differ, ranges)
        self.work[disk.id] = work

    def _base_copy(self, disk):
        """A full disk has to repair whatever there is."""
        base = self.expected[disk.id].base
        copies = self.rounds.copies
        if base:
            return copies[self.group.chain, base, disk.id]
        return next((path for (_, _, disk_id), path in copies.items()
                     if disk_id == disk.id), "/dev/null")

    def keep_or_drop(self):
        """What the user keeps of this night.

        A copy that was not committed may well be kept: what changed since
        its base is dirty next time, too.
        """
        for disk_id, work in self.work.items():
            instant = self.expected[disk_id].base
            if self.is_committed:
                instant = self.instant
            if not instant or (not self.is_committed and
                               self.rng.random() < 0.5):
                os.unlink(work)
                continue
            path = f"{self.rounds.world.tmp}/copy-{self.group.chain}-" \
                   f"{instant}-{disk_id}"
            os.replace(work, path)
            self.rounds.copies[self.group.chain, instant, disk_id] = path
        self._forget_old_copies()

    def _forget_old_copies(self):
        copies = self.rounds.copies
        for key in list(copies):
            name, instant, disk_id = key
            if not self.model.disks[disk_id].find(name, instant):
                os.unlink(copies.pop(key))
