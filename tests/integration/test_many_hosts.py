# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of several hosts in one tree: one that is dead costs its own alone."""

import contextlib
import os

import pytest

from deadline import wait_for
from files import error_of, read_at
from hosts import Host
from images import MiB
from test_sources import write_conf

NAMES = ("hv0", "hv1", "hv2")


@pytest.fixture
def hosts(tmp):
    """Three, of which the second is slow; each has a disk of its number."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(Host(tmp, number))
                 for number in range(len(NAMES))]
        for number, host in enumerate(found):
            host.serve("pattern", "64M", f"rdelay={number % 2 * 50}ms",
                       options=("--filter=delay",))
        yield found


@pytest.fixture
def site(tmp, hosts):
    """The .conf of all."""
    path = f"{tmp}/site.conf"
    write_conf(path, {name: {"nbd": host.uri, "server": "safe"}
                      for name, host in zip(NAMES, hosts)})
    return path


def disk(mnt, name):
    return mnt.join(name, "disk.raw")


def assert_served(mnt, at, *names):
    """nbdkit's pattern: each 8 bytes are their own offset.  Another one each
    time, and far away, so that no cache has them."""
    for name in names:
        assert read_at(disk(mnt, name), at, 8) == at.to_bytes(8, "big"), name


def states(mnt):
    return {one["vm"]: one["state"] for one in mnt.status()["vms"]}


def test_cut(hosts, site, mount_factory):
    """A cable that is out: EIO after the time limit, and then at once."""
    mnt = mount_factory(site, "snapshot=mkdir", "read_timeout=1",
                        "timeout=3")
    for name in NAMES:
        os.mkdir(mnt.join(name))
    assert_served(mnt, 8 * MiB, *NAMES)
    hosts[0].cut()
    assert error_of(read_at, disk(mnt, "hv0"), 40 * MiB, 8) == "EIO"
    assert_served(mnt, 16 * MiB, "hv1", "hv2")
    assert error_of(read_at, disk(mnt, "hv0"), 50 * MiB, 8) == "EIO"
    assert states(mnt) == {"hv0": "gone", "hv1": "live", "hv2": "live"}
    os.rmdir(mnt.join("hv0"))
    # libnbd takes a host out of reach for one that has hung up, now and then
    assert error_of(os.mkdir, mnt.join("hv0")) in (
        "ETIMEDOUT", "EHOSTUNREACH", "EPROTO")
    assert_served(mnt, 24 * MiB, "hv1", "hv2")
    hosts[0].plug_in()
    wait_for(lambda: error_of(os.mkdir, mnt.join("hv0")) == "none",
             what="the host to be there again")
    assert_served(mnt, 32 * MiB, *NAMES)
    mnt.umount()


def test_dead_at_the_start(hosts, site, mount_factory):
    """It is left out, and the rest stands; strict fails."""
    hosts[2].cut()
    mnt = mount_factory(site, "timeout=2")
    assert sorted(os.listdir(mnt.path)) == ["hv0", "hv1"]
    assert_served(mnt, 40 * MiB, "hv0", "hv1")
    assert hosts[2].uri in mnt.vm_status("hv2")["error"]
    mnt.umount()
    refused = mount_factory(site, "timeout=2", "strict", name="strict",
                            check=False)
    assert refused.returncode and hosts[2].uri in refused.stderr()
