# SPDX-License-Identifier: GPL-2.0-or-later
"""fleecectl checkpoints: what is there, and deleting it."""

import json

import pytest

import fleecectl
import images
import scene
from nights import Nights

TWO = (("va", "qcow2", 4 * images.MiB), ("vb", "raw", 4 * images.MiB))


@pytest.fixture
def three(tmp, vm_factory, mount_factory):
    """Three nights of a chain that keeps them, and one of another."""
    two = scene.build(tmp, vm_factory, TWO)
    nights = Nights(tmp, two, mount_factory, "keep=3")
    other = Nights(tmp, two, mount_factory, chain="other", name="other")
    instants = [nights.backup()[1] for _ in range(3)]
    other.backup()
    yield two, nights, other, instants
    nights.mnt.umount()
    other.mnt.umount()


def listed(tmp, two, *words):
    """The checkpoints as JSON."""
    return json.loads(fleecectl.good(tmp, "checkpoints", two.vm.qmp_path,
                                     "--json", *words))


def test_list(tmp, three):
    two, nights, other, instants = three
    entries = listed(tmp, two)
    assert [(entry["disk"], entry["chain"], entry["instant"], entry["state"])
            for entry in entries if entry["chain"] == "nightly"] == [
                (disk, "nightly", instant, "committed")
                for disk in ("va", "vb") for instant in instants]
    assert sorted(entry["bitmap"] for entry in entries
                  if entry["disk"] == "va") == sorted(
                      nights.checkpoints("va") + other.checkpoints("va"))
    table = fleecectl.good(tmp, "checkpoints", two.vm.qmp_path)
    words = [line.split() for line in table.splitlines()]
    assert words[0][:4] == ["VM", "DISK", "CHAIN", "INSTANT"]
    assert len(words) == 1 + len(entries)
    assert words[1][:3] == ["web01", "va", "nightly"]


def test_list_while_a_snapshot_stands(tmp, three):
    two, nights, _, _ = three
    nights.snapshot()
    states = [entry["state"] for entry in listed(tmp, two)
              if entry["disk"] == "va"]
    assert sorted(states) == ["committed"] * 4 + ["pending"]
    nights.release()


def test_delete_one(tmp, three):
    """What is left still makes increments."""
    two, nights, other, instants = three
    kept = other.checkpoints("va")
    two.vm.write("va", 0, 512, 0x11)
    fleecectl.good(tmp, "checkpoints", two.vm.qmp_path, "--delete",
                   f"nightly.{instants[2]}")
    assert [entry["instant"] for entry in listed(tmp, two)
            if entry["chain"] == "nightly"] == instants[:2] * 2
    assert nights.snapshot()["disks"][0]["base"] == instants[1]
    assert nights.dirty("va") == [(0, 65536)]
    nights.release()
    assert other.checkpoints("va") == kept


def test_delete_a_chain(tmp, three):
    """All of it, on every disk, but for what may still be committed."""
    two, nights, other, _ = three
    kept = other.checkpoints("va")
    nights.snapshot()
    fleecectl.good(tmp, "checkpoints", two.vm.qmp_path, "--delete", "nightly")
    assert [name.split(".")[-1] for name in nights.checkpoints("va")] == [
        "pending"]
    nights.commit()
    nights.release()
    assert nights.backup()[0] == {"va": None, "vb": None}
    assert other.checkpoints("va") == kept


def test_words(tmp, three):
    two, _, _, _ = three
    refused = fleecectl.refused(tmp, "checkpoints", two.vm.qmp_path,
                                "--delete", "nightly.yesterday")
    assert "nightly.yesterday" in refused
    refused = fleecectl.refused(tmp, "checkpoints", two.vm.qmp_path,
                                "--delete", "weekly")
    assert "no checkpoint weekly" in refused
    assert "none.qmp" in fleecectl.refused(tmp, "checkpoints",
                                           f"{tmp}/none.qmp")
    assert len(listed(tmp, two)) == 8
