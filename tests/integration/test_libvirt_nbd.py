# SPDX-License-Identifier: GPL-2.0-or-later
"""A backup job that somebody else has begun with virsh: an NBD source."""

import subprocess

import pytest

import files
import images
from libvirtd import Drive
from recipe import Place, readme

SIZE, MiB = 8 * images.MiB, images.MiB
RECIPE = readme("virsh backup-begin")
SINCE = "  <incremental>monday</incremental>\n"


@pytest.fixture
def domain(tmp, libvirt):
    """Two disks with something on them, and a checkpoint."""
    drives = []
    for target in ("vda", "vdb"):
        path = images.create(f"{tmp}/{target}.qcow2", "qcow2", SIZE)
        drives.append(Drive(target, path))
    one = libvirt.start("web01", drives)
    one.write("vda", 0, MiB, 0x11)
    one.write("vdb", 2 * MiB, 65536, 0x12)
    one.virsh("checkpoint-create-as", "monday")
    return one


@pytest.fixture
def place(tmp, domain, monkeypatch, fleecefs):
    """Where virsh finds the domain, too."""
    monkeypatch.setenv("VIRSH_DEFAULT_CONNECT_URI", domain.libvirt.uri)
    one = Place(tmp, "")
    yield one
    subprocess.run(["umount", "-l", one.mnt], check=False,
                   capture_output=True)


def mount(tmp, place, text):
    done = place.run(text, **{"/run/vm/": f"{tmp}/"})
    assert done.returncode == 0, done.stdout


def dirty(place, disk):
    with open(f"{place.mnt}/web01/{disk}.dirty", encoding="ascii") as file:
        return [(start, length) for start, length, status
                in files.parse_mapfile(file.read()) if status == "+"]


def content(place, disk):
    with open(f"{place.mnt}/web01/{disk}.raw", "rb") as file:
        return file.read()


def end(place, domain):
    assert place.run("umount.fleecefs /mnt").returncode == 0
    assert domain.job() == "Unbounded"
    domain.virsh("domjobabort")


def test_backup_begin(tmp, domain, place):
    """The README's recipe, first without what makes it incremental."""
    before = domain.state()
    assert SINCE in RECIPE and ",bitmap=backup-*" in RECIPE
    mount(tmp, place,
          RECIPE.replace(SINCE, "").replace(",bitmap=backup-*", ""))
    domain.write("vda", MiB, 65536, 0x21)
    domain.reads("vda", MiB, 65536, 0x21)
    assert content(place, "vda") == b"\x11" * MiB + bytes(SIZE - MiB)
    assert dirty(place, "vda") == dirty(place, "vdb") == [(0, SIZE)]
    end(place, domain)
    mount(tmp, place, RECIPE)
    domain.write("vda", 0, 2 * MiB, 0x22)
    domain.reads("vda", 0, 2 * MiB, 0x22)
    assert dirty(place, "vda") == [(MiB, 65536)]
    assert dirty(place, "vdb") == []
    assert content(place, "vda") == (
        b"\x11" * MiB + b"\x21" * 65536 + bytes(SIZE - MiB - 65536))
    assert content(place, "vdb") == (
        bytes(2 * MiB) + b"\x12" * 65536 + bytes(SIZE - 2 * MiB - 65536))
    end(place, domain)
    assert domain.state() == before
