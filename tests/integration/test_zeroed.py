# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that makes zeros of what the snapshot still has to show.

QEMU before 8.0 takes a cluster that it has copied for one that it has not,
where a request goes on into one that it has not: it then reads the guest's
new data, and calls a hole what the guest has made one since the instant.
"""

import pytest

import images
import qmp
import scene
from files import data_map
from qmpproxy import QmpProxy

KINDS = ("raw", "qcow2")
METHODS = ("filter", "job")
CLUSTER = 64 * images.KiB
SIZE = 4 * images.MiB
FULL = ((0x33, 0, SIZE),)
# Clusters of which the next one is not touched, in the same 128 KiB: one,
# three, and one without its first and last sector.
PLACES = ((2 * CLUSTER, CLUSTER), (6 * CLUSTER, 3 * CLUSTER),
          (12 * CLUSTER + 512, CLUSTER - 1024))
VERBS = ("write -z", "write -z -u", "discard", "write -P 0xee")


def commands():
    """Each verb on places of its own, as qemu-io has them."""
    for number, verb in enumerate(VERBS):
        for offset, length in PLACES:
            yield f"{verb} {offset + number * images.MiB} {length}"


def build(tmp, vm_factory, kind):
    """A VM with a full disk, and a second monitor at TMP/second."""
    return scene.build(tmp, vm_factory, (("va", kind, SIZE),), patterns=FULL,
                       args=["-chardev", f"socket,id=second,server=on,"
                             f"wait=off,path={tmp}/second",
                             "-mon", "chardev=second,mode=control"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_zeroes_after_the_instant(tmp, vm_factory, mount_factory, kind,
                                  method):
    one = build(tmp, vm_factory, kind)
    mnt = mount_factory(one.vm.qmp_path, f"method={method}", "discard")
    for command in commands():
        one.vm.qemu_io("va", command)
    one.vm.reads("va", 2 * CLUSTER, CLUSTER, 0)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_zeroes_before_the_map_is_read(tmp, vm_factory, mount_factory, kind,
                                       method):
    """Between the instant and the look at what is a hole."""
    one = build(tmp, vm_factory, kind)
    device = one.vm.qdev("va")

    def strike(_, name):
        if name == "block-export-add":
            with qmp.Qmp(f"{tmp}/second") as second:
                for command in commands():
                    second.hmp(f'qemu-io -d {device} "{command}"')

    with QmpProxy(f"{tmp}/proxy.qmp", one.vm.qmp_path) as proxy:
        proxy.hook = strike
        mnt = mount_factory(proxy.path, f"method={method}", "name=web01")
        proxy.hook = None
        one.vm.reads("va", 2 * CLUSTER, CLUSTER, 0)
        assert data_map(one.file(mnt, "va")) == [(0, SIZE)]
        one.assert_shown(mnt)
        mnt.umount()
    one.assert_as_before()
