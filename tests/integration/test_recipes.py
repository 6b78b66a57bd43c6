# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipes for chains do what they say, and never commit a bad copy."""

import os
import subprocess
import threading

import pytest

import images
import mount
import scene
from deadline import wait_for
from recipe import Place, manual, readme

KiB, MiB = images.KiB, images.MiB
TWO = (("system", "qcow2", 4 * MiB), ("data", "raw", 4 * MiB))
NIGHTLY = readme("#!/bin/sh")
DELTA = readme("view=delta")
RESTORE = readme("tar -xf")
UPDATES = {"readme": NIGHTLY, "manual": manual("fleecectl commit")}


@pytest.fixture
def vm(tmp, vm_factory, fleecefs):
    return scene.build(tmp, vm_factory, TWO).vm


@pytest.fixture
def place(tmp, vm):
    one = Place(tmp, vm.qmp_path)
    yield one
    if os.path.ismount(one.mnt):
        subprocess.run(["umount", one.mnt], check=True)


def live(tmp, vm, disk_id):
    """What the disk holds now; nobody writes."""
    disk = vm.disks[disk_id]
    return images.sha256(images.to_raw(disk.image, disk.fmt, f"{tmp}/live"))


def assert_copied(tmp, vm, directory):
    for disk_id in vm.disks:
        assert (images.sha256(f"{directory}/{disk_id}.raw")
                == live(tmp, vm, disk_id)), disk_id


def instants(vm):
    """Those of the checkpoints on system."""
    return [name.split(".")[2] for name in vm.bitmaps("system-fmt")]


@pytest.mark.parametrize("text", UPDATES)
def test_update(tmp, vm, place, text):
    """Night after night, changed or not, the copies are the disks."""
    for night in range(4):
        done = place.run(UPDATES[text])
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        assert_copied(tmp, vm, place.backup)
        assert len(instants(vm)) == 1
        if night < 2:
            vm.write("system", night * 64 * KiB, 512, 0x11 + night)
            vm.qemu_io("data", f"write -z {MiB} {128 * KiB}")


def test_update_after_a_roll_back(tmp, vm, place):
    """The copy is newer than the image: everything is copied."""
    assert place.run(NIGHTLY).returncode == 0
    vm.quit()
    old = images.run("cp", f"{tmp}/web01-system.img", f"{tmp}/old.img")
    vm.start()
    vm.write("system", 0, MiB, 0x21)
    assert place.run(NIGHTLY).returncode == 0
    assert_copied(tmp, vm, place.backup)
    vm.quit()
    old = images.run("cp", f"{tmp}/old.img", f"{tmp}/web01-system.img")
    vm.start()
    assert old == "" and place.run(NIGHTLY).returncode == 0
    assert_copied(tmp, vm, place.backup)


def test_deltas_and_the_way_back(tmp, vm, place):
    """A full one and an increment make the disks of the last night."""
    for night in ("mon", "tue"):
        done = place.run(DELTA, tue=night)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        if night == "mon":
            vm.write("system", 64 * KiB, 512, 0x31)
            vm.qemu_io("system", f"write -z {2 * MiB} {64 * KiB}")
            vm.write("data", 4 * MiB - 512, 512, 0x32)
    sizes = [os.stat(f"{place.backup}/{night}.tar").st_size
             for night in ("mon", "tue")]
    assert sizes[1] < sizes[0] / 4
    assert place.run(RESTORE).returncode == 0
    assert_copied(tmp, vm, place.backup)


def stand_in(place, program, flag):
    """In place of program: the first one waits until flag is gone again."""
    path = f"{place.bin}/{program}"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\n[ -e {flag}-seen ] || touch {flag} {flag}-seen\n"
                   f"while [ -e {flag} ]; do sleep 0.02; done\n"
                   f"exec /usr/bin/{program} \"$@\"\n")
    os.chmod(path, 0o755)


def during(flag, act):
    """A thread that acts once, when a stand-in has come."""
    def watch():
        wait_for(lambda: os.path.exists(flag), 60, "the program to start")
        try:
            act()
        finally:
            os.unlink(flag)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def break_snapshot(vm):
    """The guest writes more than the scratch can hold."""
    for at in range(0, 4 * MiB, MiB):
        vm.write("system", at, MiB, 0x41)


BAD_NIGHTS = {"broken": break_snapshot, "gone": lambda vm: vm.kill()}
RECIPES = {**UPDATES, "delta": DELTA}


@pytest.mark.parametrize("what", BAD_NIGHTS)
@pytest.mark.parametrize("text", RECIPES)
def test_bad_night(tmp, vm, place, text, what):
    """It fails half-way: nothing is committed, and the next one is right."""
    assert place.run(RECIPES[text]).returncode == 0
    vm.write("system", 0, 4 * MiB, 0x42)
    before = instants(vm)
    program = "tar" if text == "delta" else "ddrescue"
    flag, small = f"{tmp}/flag", f"{tmp}/small"
    stand_in(place, program, flag)
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small],
                   check=True)
    thread = during(flag, lambda: BAD_NIGHTS[what](vm))
    done = place.run(RECIPES[text],
                     **{"-o ": f"-o scratch={small},", '-o "': f'-o "scratch='
                        f'{small},'})
    thread.join(60)
    os.unlink(f"{place.bin}/{program}")
    if os.path.ismount(place.mnt):
        assert place.run("umount.fleecefs /mnt").returncode == 0
    subprocess.run(["umount", small], check=True)
    assert "rror" in done.stdout or done.returncode != 0, done.stdout
    if what == "gone":
        vm.start()
    else:
        assert instants(vm) == before
    if text != "delta":
        done = place.run(RECIPES[text])
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        assert_copied(tmp, vm, place.backup)


def test_switched_off(tmp, fleecefs):
    """An image's server, with the bitmap that is in the image."""
    place = Place(tmp, "")
    path = images.make("qcow2", f"{place.backup}/web01.qcow2", 4 * MiB)
    images.run("qemu-img", "bitmap", "--add", path, "monday")
    images.write_patterns(path, "qcow2", [(0x51, MiB, 64 * KiB)])
    text = readme("qemu-nbd").replace("--fork", f"--fork --pid-file {tmp}/pid")
    assert text.count("--pid-file") == 1
    try:
        done = place.run(text, **{"/run/vm/": f"{tmp}/"})
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        shown = images.sha256(f"{place.mnt}/nbd/disk.raw")
        assert shown == images.content_sha(path, "qcow2")
        with open(f"{place.mnt}/nbd/disk.dirty", encoding="utf-8") as file:
            assert "0x00100000  0x00010000  +" in file.read()
        assert place.run("umount.fleecefs /mnt").returncode == 0
    finally:
        with open(f"{tmp}/pid", encoding="ascii") as file:
            os.kill(int(file.read()), 15)


def test_recipes_commit(vm, place):
    """The control: each recipe does commit when nothing is wrong."""
    for text in RECIPES.values():
        assert mount.binary() and place.run(text).returncode == 0
    chains = {name.split(".")[1] for name in vm.bitmaps("system-fmt")}
    assert chains == {"nightly", "weekly"}


def test_read_once(tmp, vm, place):
    """cp, which cannot punch, copies all of it."""
    done = place.run(readme("read_once"))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    assert_copied(tmp, vm, place.backup)
