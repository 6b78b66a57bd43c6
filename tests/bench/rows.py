# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured, one Row a line of the table.

A row has a command for each peer that takes part; what it reads, in bytes,
makes a time a throughput.  `goals` says how much faster than whom fleecefs is
meant to be: (peers, ratio), where the best of the peers counts.
"""

import os
import shlex
from dataclasses import dataclass, field
from typing import Callable

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
FUSE = ("nbdfuse", "qemu-fuse")


@dataclass
class Row:
    """command(peer, bench) is a shell command; bytes(bench) what it reads.

    before(bench) is one that is run first and does not count; needs names
    the tools; nbdcopy is the command for the peer that has no file.
    """
    name: str
    command: Callable
    nbdcopy: Callable = None
    bytes: Callable = lambda bench: bench.size
    before: Callable = None
    peers: tuple = ("fleecefs",) + FUSE + ("vm-fuse", "plain")
    needs: tuple = ()
    goals: tuple = field(default_factory=tuple)

    def takes(self, peer):
        if peer.name == "nbdcopy":
            return self.nbdcopy is not None
        return peer.name in self.peers

    def command_for(self, peer, bench):
        make = self.nbdcopy if peer.path is None else self.command
        return make(peer, bench)


def dd(block, limit=None):
    def command(peer, bench):
        count = _limited(limit)(bench) // block
        return (f"dd if={shlex.quote(peer.path)} of=/dev/null bs={block} "
                f"count={count} status=none")
    return command


def _limited(limit):
    return lambda bench: min(bench.size, limit or bench.size)


def fio(depth):
    def command(peer, bench):
        return (f"fio --name=r --filename={shlex.quote(peer.path)} "
                "--readonly --rw=randread --bs=4k --ioengine=io_uring "
                f"--direct={int(peer.name != 'plain')} --iodepth={depth} "
                f"--size={bench.size} --number_ios=20000 --randrepeat=1 "
                "--norandommap --thread --output=/dev/null")
    return command


def target(bench):
    return os.path.join(bench.tmp, "target")


def clean(bench):
    return f"rm -rf {target(bench)}"


def borg(peer, bench):
    repo = target(bench)
    return (f"export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes "
            f"BORG_BASE_DIR={repo}.home && "
            f"borg init -e none {repo} && "
            f"borg create --compression none {repo}::a {peer.path} "
            "2>/dev/null || [ $? = 1 ]")  # QEMU's export says it changes


def restic(peer, bench):
    repo = target(bench)
    return ("export RESTIC_PASSWORD=x && "
            f"restic -q init --no-cache -r {repo} && "
            f"restic -q backup --no-cache -r {repo} {peer.path}")


ROWS = (
    Row("dd bs=1M", dd(MiB),
        nbdcopy=lambda peer, bench: f"nbdcopy '{peer.uri}' null:",
        goals=((("nbdcopy",), 0.9), (("nbdfuse",), 1.8),
               (("qemu-fuse",), 2.0))),
    Row("cp", lambda peer, bench: f"cp {peer.path} {target(bench)}",
        nbdcopy=lambda peer, bench: f"nbdcopy '{peer.uri}' {target(bench)}",
        before=clean, goals=((("nbdcopy",), 1.2),)),
    Row("dd bs=64k", dd(64 * KiB), goals=((FUSE, 1.2),)),
    Row("dd bs=4k", dd(4 * KiB, 256 * MiB), bytes=_limited(256 * MiB),
        goals=((FUSE, 1.2),)),
    Row("tar | cat", lambda peer, bench:
        f"tar -C {os.path.dirname(peer.path)} -cf - "
        f"{os.path.basename(peer.path)} 2>/dev/null | cat >/dev/null",
        goals=((FUSE, 1.3),)),
    Row("rsync", lambda peer, bench:
        f"rsync --whole-file {peer.path} {target(bench)}",
        before=clean, needs=("rsync",), goals=((FUSE, 1.3),)),
    Row("borg", borg, before=lambda bench:
        f"rm -rf {target(bench)} {target(bench)}.home", needs=("borg",),
        goals=((FUSE, 1.3),)),
    Row("restic", restic, before=clean, needs=("restic",),
        goals=((FUSE, 1.3),)),
    Row("random 4k, depth 1", fio(1), bytes=lambda bench: 20000 * 4 * KiB,
        peers=("fleecefs",) + FUSE + ("vm-fuse",), needs=("fio",), goals=((FUSE, 1.0),)),
    Row("random 4k, depth 32", fio(32), bytes=lambda bench: 20000 * 4 * KiB,
        peers=("fleecefs",) + FUSE + ("vm-fuse",), needs=("fio",), goals=((FUSE, 1.3),)),
)
