# SPDX-License-Identifier: GPL-2.0-or-later
"""Hypervisors of several kinds in one tree: two libvirts, and a directory."""

import contextlib
import os
import signal

import pytest

import fleecectl
import images
import scene
from deadline import wait_for
from files import error_of, read_at
from libvirtd import Libvirtd
from test_libvirt import drive
from test_many_hosts import states
from test_sources import write_conf

KiB = 1024
FAR = 4 * images.MiB    # from what is in the kernel's cache


@pytest.fixture
def hv2(tmp, libvirt, libvirt_cache):
    """A second libvirtd, which does not run yet."""
    daemon = Libvirtd(f"{tmp}/hv2", libvirt_cache)
    with contextlib.ExitStack() as stack:
        yield daemon, lambda: stack.enter_context(daemon)


def start(tmp, daemon, disk, pattern):
    """All have a domain of this name."""
    domain = daemon.start("web01", [drive(tmp, disk)])
    domain.write(disk, 0, 64 * KiB, pattern)
    return domain


def shown(mnt, vm, disk, offset=0):
    return read_at(mnt.join(vm, f"{disk}.raw"), offset, KiB)


def die(daemon):
    """The machine is gone."""
    daemon.stop_daemon(signal.SIGKILL)
    for pid in daemon.guests():
        os.kill(pid, signal.SIGKILL)


def test_libvirts_and_a_directory(tmp, libvirt, hv2, vm_factory,
                                  mount_factory):
    """One that is not there yet, and goes again, costs its own alone."""
    second, start_second = hv2
    first = start(tmp, libvirt, "vda", 0x11)
    one = scene.build(tmp, vm_factory, (("va", "raw", images.SIZE),))
    site = f"{tmp}/site.conf"
    write_conf(site, {"hv1": {"libvirt": libvirt.uri},
                      "hv2": {"libvirt": second.uri},
                      "db": {"libvirt": second.uri, "domain": "web01"},
                      "run": {"directory": tmp}})
    refused = mount_factory(site, "strict", name="strict", check=False)
    assert refused.returncode and second.socket in refused.stderr()
    assert first.job() == "None"
    one.assert_as_before()

    mnt = mount_factory(site)
    assert sorted(os.listdir(mnt.path)) == ["web01@hv1", "web01@run"]
    assert states(mnt) == {"web01@hv1": "live", "web01@run": "live",
                           "db": "failed"}
    [missing] = mnt.status()["unreachable"]
    assert "group [hv2]" in missing and second.socket in missing
    assert missing in fleecectl.good(tmp, "status", mnt.path)
    assert error_of(os.mkdir, mnt.join("db")) == "ENOTCONN"
    assert error_of(os.mkdir, mnt.join("web01@hv2")) == "ENOENT"

    start_second()
    domain = start(tmp, second, "vdb", 0x22)
    second.start("mail", [drive(tmp, "vdc")])
    wait_for(lambda: mnt.status()["unreachable"] == [] and states(mnt) == {
        "web01@hv1": "live", "web01@run": "live", "db": "available",
        "mail@hv2": "available"}, what="the second one's domains")
    os.mkdir(mnt.join("mail@hv2"))
    os.mkdir(mnt.join("db"))
    first.write("vda", 0, 64 * KiB, 0x33)
    domain.write("vdb", 0, 64 * KiB, 0x44)
    assert shown(mnt, "db", "vdb") == b"\x22" * KiB
    assert shown(mnt, "web01@hv1", "vda") == b"\x11" * KiB

    die(second)
    wait_for(lambda: states(mnt)["db"] == "gone", what="its end to be seen")
    assert error_of(shown, mnt, "db", "vdb", FAR) == "EIO"
    assert shown(mnt, "web01@hv1", "vda", FAR) == bytes(KiB)
    assert len(shown(mnt, "web01@run", "va", FAR)) == KiB
    assert error_of(os.rmdir, mnt.join("db")) == "ENOTCONN"
    assert "db" not in os.listdir(mnt.path)
    assert error_of(os.mkdir, mnt.join("db")) == "ENOTCONN"
    second.start_daemon()
    second.virsh("start", "web01")
    wait_for(lambda: error_of(os.mkdir, mnt.join("db")) == "none",
             what="the second one to be there again")
    assert shown(mnt, "db", "vdb") == b"\x44" * KiB
    mnt.umount()
    assert first.job() == domain.job() == "None"
    one.assert_as_before()
    assert fleecectl.good(tmp, "recover", site) == ""
    die(second)
    assert second.socket in fleecectl.refused(tmp, "recover", site)
