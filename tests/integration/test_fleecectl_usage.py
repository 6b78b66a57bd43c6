# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line of the control tool may not be."""

import re

import pytest

import fleecectl
from fleecectl import COMMANDS, ON_SOURCE

FIRST = {**{verb: "MNT" for verb in COMMANDS},
         **{verb: "SOURCE" for verb in ON_SOURCE}}
ONE_WORD = ("umount", "status", *ON_SOURCE)


def usage(tmp, *words):
    done = fleecectl.run(tmp, *words)
    assert (done.returncode, done.stdout) == (fleecectl.USAGE, ""), done
    return done.stderr


@pytest.mark.parametrize("verb", FIRST)
def test_usage_of_commands(tmp, fleecefs, verb):
    """Too few words, too many, and options that are not there."""
    good = ["/mnt"] if verb in ONE_WORD else ["/mnt", "web01"]
    line = f"usage: fleecectl {verb} {FIRST[verb]}"
    assert usage(tmp, verb).startswith(line)
    assert usage(tmp, verb, *good[:-1]).startswith(line)
    assert usage(tmp, verb, *good, "a", "b").startswith(line)
    for option in ("--frob", "-x", "--json=1", "--help=x"):
        said = usage(tmp, verb, *good, option)
        assert said.startswith(f"fleecectl: {verb}: "), said
        assert option.split("=")[0].strip("-") in said and line in said
    other = "--json" if verb in ("commit", "release", "umount", "recover") \
        else "--force"
    assert "Unknown option" in usage(tmp, verb, *good, other)


@pytest.mark.parametrize("verb, option", (
    ("release", "--force"), ("commit", "--force"), ("status", "--json")))
def test_flags_have_no_value(tmp, fleecefs, verb, option):
    """Least of all "--force=no"."""
    said = usage(tmp, verb, "/mnt", "web01", f"{option}=no")
    assert f"Option {option} takes no value" in said


def test_usage(tmp, fleecefs):
    said = usage(tmp)
    assert all(f"\n  {verb} {FIRST[verb]}" in said for verb in FIRST)
    for word in ("frobnicate", "--frob", "-x", "", "statu", "\x1b[2J"):
        line = fleecectl.line_of(fleecectl.run(tmp, word), fleecectl.USAGE)
        assert f"'{word}'".replace("\x1b", "?") in line


def test_help_and_version(tmp, fleecefs):
    for word in ("-h", "--help"):
        assert fleecectl.good(tmp, word).startswith("usage: fleecectl ")
        for verb in FIRST:
            said = fleecectl.good(tmp, verb, word)
            assert said.startswith(f"usage: fleecectl {verb} {FIRST[verb]}")
    for word in ("-V", "--version"):
        assert re.fullmatch(r"fleecectl \d+\.\d+\.\d+\n",
                            fleecectl.good(tmp, word))
