# SPDX-License-Identifier: GPL-2.0-or-later
"""The control tool, run by a test to its end."""

import os
import subprocess

import mount
from deadline import DEADLINE
from sanitizers import sanitizer_environment

FAILED = 1
USAGE = 2
COMMANDS = ("status", "snapshot", "commit", "release", "umount")
ON_SOURCE = ("checkpoints", "recover")


def run(tmp, *words, stdout=subprocess.PIPE):
    """All that it said, and its status."""
    return subprocess.run(
        [mount.binary("ctl/fleecectl"), *words], check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
        timeout=4 * DEADLINE, env={**os.environ, **sanitizer_environment(tmp)})


def good(tmp, *words):
    """What it printed; it succeeds and has nothing to complain about."""
    done = run(tmp, *words)
    assert (done.returncode, done.stderr) == (0, ""), (words, done)
    return done.stdout


def refused(tmp, *words):
    """Its one line on stderr; it fails and prints nothing else."""
    return line_of(run(tmp, *words))


def line_of(done, status=FAILED):
    """The one line of a run that failed."""
    assert (done.returncode, done.stdout) == (status, ""), done
    assert len(done.stderr.splitlines()) == 1, done
    assert done.stderr.startswith("fleecectl: "), done
    line = done.stderr[:-1]
    assert line.isprintable(), line
    return line
