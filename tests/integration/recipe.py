# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that README.md and the manual show, run as they stand there.

Only the places are others.  The built programs are found by their names.
"""

import os
import subprocess

import mount
from sanitizers import sanitizer_environment

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
PROGRAMS = ("fs/fleecefs", "ctl/fleecectl", "ctl/umount.fleecefs")


def readme(word):
    """The one block of README.md that has word in it, without prompts."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        blocks = "".join(line[4:] if line.startswith("    ") else "\0\n"
                         for line in file).split("\0\n")
    return _one(blocks, word).replace("\n# ", "\n").removeprefix("# ")


def manual(word):
    """The one example of mount.fleecefs(8) that has word in it."""
    with open(os.path.join(ROOT, "mount.fleecefs.8"), encoding="utf-8") as file:
        examples = file.read().split(".Sh EXAMPLES")[1].split(".Bd")[1:]
    return _one([text.split("\n", 1)[1].split(".Ed")[0] for text in examples],
                word)


def _one(blocks, word):
    found = [block for block in blocks if word in block]
    assert len(found) == 1, (word, found)
    return found[0]


class Place:
    """Where recipes run: a mountpoint, a directory for copies, programs."""

    def __init__(self, tmp, qmp_path):
        self.tmp, self.mnt = tmp, f"{tmp}/mnt"
        self.backup, self.bin = f"{tmp}/backup", f"{tmp}/bin"
        self.places = {"/run/vm/web01.qmp": qmp_path, "/mnt": self.mnt,
                       "/srv/backup": self.backup}
        for path in (self.mnt, self.backup, self.bin):
            os.mkdir(path)
        for program in PROGRAMS:
            os.symlink(os.path.abspath(mount.binary(program)),
                       f"{self.bin}/{os.path.basename(program)}")

    def run(self, text, **replace):
        """Run the text with sh -e; what came of it, with all it said."""
        for old, new in {**self.places, **replace}.items():
            text = text.replace(old, new)
        return subprocess.run(
            ["sh", "-ec", text], cwd=self.backup, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            env={**os.environ, **sanitizer_environment(self.tmp),
                 "PATH": f"{self.bin}:{os.environ['PATH']}"})
