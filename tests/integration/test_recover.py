# SPDX-License-Identifier: GPL-2.0-or-later
"""fleecectl recover: QEMU as before when nobody is left to do it."""

import os
import re
import subprocess

import pytest

import fleecectl
import guest
import images
import mount
import scene
from deadline import wait_for
from qmpproxy import QmpProxy

TWO = (("va", "qcow2", 4 * images.MiB), ("vb", "raw", 4 * images.MiB))


def kill_all(mnt):
    """Daemon and guardian at once; the dead mount is taken away."""
    mnt.kill()
    wait_for(lambda: not mnt.processes(), what="the end of all")
    subprocess.run(["umount", "-l", mnt.path], check=False,
                   capture_output=True)


def socket_directory(vm):
    """Where a set-up has its socket; by the owner's note."""
    note = vm.execute("qom-get", {"path": "/objects/fleecefs-owner",
                                  "property": "identity"})
    return "/run/fleecefs-" + re.search("session=([0-9a-f]{8});", note)[1]


@pytest.mark.parametrize("method", ("filter", "job"))
def test_recover(tmp, vm_factory, mount_factory, method):
    two = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(two.vm.qmp_path, "chain=nightly", f"method={method}")
    assert two.vm.state() != two.before
    kill_all(mnt)
    said = fleecectl.run(tmp, "recover", two.vm.qmp_path)
    assert said.returncode == 0 and "dead fleecefs" in said.stderr, said
    two.assert_as_before()
    assert fleecectl.good(tmp, "recover", two.vm.qmp_path) == ""


def test_living_owner(tmp, vm_factory, mount_factory):
    """It is left alone, unless it is to be disturbed."""
    two = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(two.vm.qmp_path)
    refused = fleecectl.refused(tmp, "recover", two.vm.qmp_path)
    assert f"pid {mnt.pid}" in refused and "VM web01" in refused
    two.assert_shown(mnt)
    said = fleecectl.run(tmp, "recover", two.vm.qmp_path, "--force")
    assert said.returncode == 0, said
    two.assert_as_before()
    mnt.umount()
    two.assert_as_before()


def test_stopped_guest_runs_again(tmp, vm_factory, fleecefs):
    """Both die between stop and cont."""
    two = scene.build_living(tmp, vm_factory, guest.Ring(drives=2, slots=64))
    with QmpProxy(f"{tmp}/proxy.qmp", two.vm.qmp_path) as proxy:
        mnt = mount.Mount(tmp, proxy.path, check=False)

        def strike(_, name):
            if name == "qom-set drive":
                kill_all(mnt)

        proxy.arm()
        proxy.hook = strike
        with mnt:
            wait_for(lambda: mnt.returncode is not None, what="the kill")
    assert two.vm.run_state() == "paused"
    place = socket_directory(two.vm)
    assert os.listdir(place) == ["nbd"]
    said = fleecectl.run(tmp, "recover", two.vm.qmp_path)
    assert said.returncode == 0, said
    assert two.vm.run_state() == "running"
    assert not os.path.exists(place)
    guest.wait_progress(two.vm, "va")
    two.assert_as_before()


def test_directory(tmp, vm_factory, mount_factory):
    """Each VM of a directory; one that has ended has nothing of ours."""
    one = scene.build(tmp, vm_factory, TWO, name="web01")
    other = scene.build(tmp, vm_factory, TWO, name="web02")
    mnt = mount_factory(tmp)
    kill_all(mnt)
    other.vm.kill()
    open(other.vm.qmp_path, "wb").close()
    said = fleecectl.run(tmp, "recover", tmp)
    assert said.returncode == 0, said
    one.assert_as_before()
