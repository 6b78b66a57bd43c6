# SPDX-License-Identifier: GPL-2.0-or-later
"""Several VMs in a directory or a .conf file, and VMs that come and go."""

import os
import socket

import pytest

import images
import scene
from deadline import wait_for
from files import error_of

TWO = (("va", "raw", images.SIZE), ("vb", "qcow2", scene.ODD_SIZE))


def pair(tmp, vm_factory):
    return [scene.build(tmp, vm_factory, TWO, name=name)
            for name in ("web01", "web02")]


def vms_of(mnt):
    return [vm["vm"] for vm in mnt.status()["vms"]]


@pytest.mark.parametrize("method", ("filter", "job"))
def test_directory(tmp, vm_factory, mount_factory, method):
    """Each VM has its own instant, and each shows its own."""
    scenes = pair(tmp, vm_factory)
    mnt = mount_factory(tmp, "discard", f"method={method}")
    assert sorted(os.listdir(mnt.path)) == ["web01", "web02"]
    for one in scenes:
        one.vm.write("va", 0, 16 * images.MiB, 0xee)
        one.vm.write("vb", 0, 8 * images.MiB, 0xdd)
    for one in scenes:
        one.assert_shown(mnt)
        assert mnt.vm_status(one.vm.name)["state"] == "live"
    mnt.umount()
    for one in scenes:
        one.assert_as_before()


@pytest.mark.parametrize("globs, chosen", (
    ("web01", ["web01"]), ("*2:none", ["web02"]),
    ("web01:*02", ["web01", "web02"]), ("web??", ["web01", "web02"])))
@pytest.mark.parametrize("conf", (False, True))
def test_vm_globs(tmp, vm_factory, mount_factory, globs, chosen, conf):
    """A VM that is not chosen is not asked anything."""
    scenes = pair(tmp, vm_factory)
    source = tmp
    if conf:
        source = f"{tmp}/site.conf"
        write_conf(source, {one.vm.name: {"qmp": one.vm.qmp_path}
                            for one in scenes})
    mnt = mount_factory(source, f"vm={globs}")
    assert sorted(os.listdir(mnt.path)) == vms_of(mnt) == chosen
    for one in scenes:
        if one.vm.name in chosen:
            one.assert_shown(mnt)
        else:
            one.assert_as_before()
            assert error_of(os.mkdir, mnt.join(one.vm.name)) == "ENOENT"
    mnt.umount()
    for one in scenes:
        one.assert_as_before()


def write_conf(path, groups):
    with open(path, "w", encoding="utf-8") as file:
        for name, keys in groups.items():
            file.write(f"[{name}]\n")
            file.writelines(f"{key}={value}\n" for key, value in keys.items())


def test_conf(tmp, vm_factory, mount_factory):
    """Each group's own settings; what it does not say is the option's."""
    first, second = pair(tmp, vm_factory)
    for name in ("one", "other"):
        os.mkdir(f"{tmp}/{name}")
    write_conf(f"{tmp}/site.conf", {
        "mail": {"qmp": first.vm.qmp_path, "disks": "vb", "method": "job",
                 "scratch": f"{tmp}/one"},
        "www": {"qmp": second.vm.qmp_path}})
    mnt = mount_factory(f"{tmp}/site.conf", "method=filter", "disk=v*",
                        f"scratch={tmp}/other")
    for name, method, disks, scratch, one in (
            ("mail", "job", ["vb"], "one", first),
            ("www", "filter", ["va", "vb"], "other", second)):
        status = mnt.vm_status(name)
        assert status["method"] == method
        assert [disk["name"] for disk in status["disks"]] == disks
        assert any(path.startswith(f"{tmp}/{scratch}/")
                   for path in one.vm.state()["open-files"])
        for disk in disks:
            shown = images.sha256(mnt.join(name, f"{disk}.raw"))
            assert shown == one.sha(disk)
    mnt.umount()
    first.assert_as_before()
    second.assert_as_before()


def test_monitor_is_lent(tmp, vm_factory, mount_factory):
    """A directory as Proxmox VE has it: other sockets beside are no VMs, and
    its own programs have the monitor while a snapshot stands and is read."""
    one = scene.build(tmp, vm_factory, name="100")
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for beside, name in zip(sockets, ("100.qga", "100.vnc")):
        beside.bind(f"{tmp}/{name}")
    mnt = mount_factory(tmp, "discard")
    assert os.listdir(mnt.path) == ["100"]
    with one.vm.qmp() as theirs:
        one.assert_shown(mnt)
        assert theirs.execute("query-status")["running"]
    mnt.umount()
    one.assert_as_before()
    for beside in sockets:
        beside.close()


def test_sockets_come_and_go(tmp, vm_factory, mount_factory):
    """They are seen without a new mount, and so is their end."""
    mnt = mount_factory(tmp, "snapshot=mkdir")
    assert vms_of(mnt) == []
    one = scene.build(tmp, vm_factory)
    assert vms_of(mnt) == ["web01"]
    os.mkdir(mnt.join("web01"))
    one.assert_shown(mnt)
    os.rmdir(mnt.join("web01"))
    one.assert_as_before()
    one.vm.quit()
    wait_for(lambda: not os.path.exists(one.vm.qmp_path), what="its end")
    assert vms_of(mnt) == []
    assert error_of(os.mkdir, mnt.join("web01")) != "none"
    one.vm.start()
    os.mkdir(mnt.join("web01"))
    one.assert_shown(mnt)
    mnt.umount()


def test_vm_that_ends_under_its_snapshot(tmp, vm_factory, mount_factory):
    """Its reads fail at once, the other VM's do not, and its name can be
    used again when it is back."""
    first, second = pair(tmp, vm_factory)
    mnt = mount_factory(tmp, "discard")
    first.assert_shown(mnt)
    first.vm.kill()
    wait_for(lambda: mnt.vm_status("web01")["state"] == "gone", what="gone")
    error = error_of(images.sha256, first.file(mnt, "va"))
    assert error == "EIO"
    second.overwrite_all("va")
    second.assert_shown(mnt)
    os.rmdir(mnt.join("web01"))
    assert os.listdir(mnt.path) == ["web02"]
    first.vm.start()
    os.mkdir(mnt.join("web01"))
    first.assert_shown(mnt)
    mnt.umount()
    second.assert_as_before()
    assert first.vm.state()["exports"] == []
