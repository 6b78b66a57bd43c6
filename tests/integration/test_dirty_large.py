# SPDX-License-Identifier: GPL-2.0-or-later
"""A .dirty of very many blocks is right, from its first to its last one."""

import json
import os

import files
import images
import qcow2bits
import scene
from disk import Disk
from nights import Nights

GiB = 1 << 30
CLUSTER = 64 << 10
SIZE = 32 * GiB
PATTERN = 0x11          # clusters 0 and 4 of each eight


def test_many_blocks(tmp, vm_factory, mount_factory):
    image = images.create(f"{tmp}/va.img", "qcow2", SIZE)
    one = scene.Scene(vm_factory("web01", [Disk("va", image, "qcow2")]))
    nights = Nights(tmp, one, mount_factory)
    nights.snapshot()
    nights.commit()
    nights.release()
    name = nights.checkpoints("va")[0]
    one.vm.write("va", 0, 512, 0x11)    # else nothing of it is stored
    one.vm.quit()
    assert qcow2bits.fill(image, name, PATTERN) == 1
    one.vm.start()
    facts = nights.snapshot()
    assert nights.modes() == {"va": None}
    assert facts["disks"][0]["dirty"] == SIZE // 4
    check_map(one.file(nights.mnt, "va", "dirty"))
    check_json(one.file(nights.mnt, "va", "dirty.json"))
    nights.release()
    nights.mnt.umount()


def expected():
    """The dirty clusters, and what is between them."""
    for at in range(0, SIZE, 4 * CLUSTER):
        yield at, CLUSTER, True
        yield at + CLUSTER, 3 * CLUSTER, False


def check_map(path):
    with open(path, encoding="ascii") as file:
        blocks = files.parse_mapfile(file.read())
    assert blocks == [(at, length, "+" if dirty else "?")
                      for at, length, dirty in expected()]
    assert os.stat(path).st_size > len(blocks) * 20


def check_json(path):
    """What is zero may split blocks; dirty and clean ones add up."""
    with open(path, encoding="ascii") as file:
        entries = json.load(file)
    assert sum(entry["length"] for entry in entries) == SIZE
    assert sum(entry["length"] for entry in entries
               if entry["dirty"]) == SIZE // 4
    assert all(entry["zero"] for entry in entries[1:])
