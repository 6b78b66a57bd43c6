# SPDX-License-Identifier: GPL-2.0-or-later
"""Increments with GNU ddrescue, by the recipes of the manual."""

import os
import random
import subprocess

import pytest

import chain
import images
import scene
from files import punch

RECIPES = (chain.WITH_MAP, chain.WITHOUT_MAP)
SIZE = 4 * images.MiB


def run(words, *args):
    """The exit status of a recipe."""
    return subprocess.run(["sh", "-c", words, "sh", *args], check=False,
                          timeout=120).returncode


@pytest.fixture
def backed_up(tmp, vm_factory, mount_factory, need_tool):
    """A VM whose only checkpoint is that of a whole copy."""
    need_tool("ddrescue")
    one = scene.build(tmp, vm_factory, (("va", "qcow2", SIZE),))
    mnt = mount_factory(one.vm.qmp_path, "chain=nightly", "snapshot=mkdir",
                        "discard")
    os.mkdir(mnt.join("web01"))
    yield one, mnt
    mnt.umount()


def next_night(mnt):
    mnt.control("commit web01")
    os.rmdir(mnt.join("web01"))
    os.mkdir(mnt.join("web01"))


@pytest.mark.parametrize("words", RECIPES, ids=("map", "no-map"))
def test_three_nights(tmp, backed_up, words):
    """A whole copy, an increment, and a night on which nothing changed.

    The copy begins as something else.
    """
    one, mnt = backed_up
    paths = [one.file(mnt, "va", suffix) for suffix in ("dirty", "raw")]
    copy = f"{tmp}/copy.raw"
    with open(copy, "wb") as file:
        file.write(random.Random(1).randbytes(SIZE))
    assert run(words, *paths, copy, f"{tmp}/run.map") == 0
    assert images.sha256(copy) == one.sha("va")
    one.vm.write("va", 0, 512, 0x11)
    one.vm.qemu_io("va", f"write -z {images.MiB} {images.MiB}")
    for changed in (True, False):
        next_night(mnt)
        ranges = chain.dirty(chain.read_map(paths[0]))
        assert bool(ranges) == changed
        assert run(words, *paths, copy, f"{tmp}/run.map") == 0
        assert images.sha256(copy) == images.sha256(paths[1])


@pytest.mark.parametrize("words", RECIPES, ids=("map", "no-map"))
def test_a_read_error_is_an_error(tmp, backed_up, words):
    """ddrescue alone ends with 0 there."""
    one, mnt = backed_up
    paths = [one.file(mnt, "va", suffix) for suffix in ("dirty", "raw")]
    with open(paths[1], "r+b") as file:
        punch(file.fileno(), images.MiB, chain.CLUSTER)
    args = (*paths, f"{tmp}/copy.raw", f"{tmp}/run.map")
    assert run('ddrescue -q -m "$1" "$2" "$3"', *args) == 0
    assert run(words, *args) != 0


def test_what_the_manual_warns_of(tmp, backed_up):
    """Sparse writes leave old data where the disk has zeros now, and an old
    map of a run says that all is done."""
    one, mnt = backed_up
    paths = [one.file(mnt, "va", suffix) for suffix in ("dirty", "raw")]
    copy, run_map = f"{tmp}/copy.raw", f"{tmp}/run.map"
    assert run(chain.WITH_MAP, *paths, copy, run_map) == 0
    one.vm.write("va", 0, images.MiB, 0x11)
    next_night(mnt)
    assert run('ddrescue -q -m "$1" "$2" "$3" "$4"', *paths, copy,
               run_map) == 0
    assert images.sha256(copy) != images.sha256(paths[1])
    assert run(chain.WITHOUT_MAP, *paths, copy) == 0
    assert images.sha256(copy) == images.sha256(paths[1])
    one.vm.qemu_io("va", f"write -z 0 {images.MiB}")
    next_night(mnt)
    assert run('ddrescue -q -S -X 0 -m "$1" "$2" "$3"', *paths, copy) == 0
    assert images.sha256(copy) != images.sha256(paths[1])
