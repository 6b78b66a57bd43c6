# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs that cannot be snapshot: refused in one line, and nothing is touched.

What fleecefs may not have touched includes what somebody else has in this
QEMU: an NBD server with its exports, a monitor's session, another mount.
"""

import contextlib
import os

import pytest

import images
import refusal
import scene
from disk import Disk
from qmp import Qmp
from qmpproxy import QmpProxy

QUICK = "timeout=2"


@pytest.fixture(params=(True, False), ids=("foreground", "background"))
def refuse(request, mount_factory):
    """Start a mount that must be refused, in each of the two ways."""
    def start(source, *words):
        return mount_factory(source, QUICK, *words, check=False,
                             foreground=request.param)
    return start


@contextlib.contextmanager
def nbd_server(vm, path, exports):
    """Somebody's NBD server in QEMU."""
    vm.execute("nbd-server-start",
               {"addr": {"type": "unix", "data": {"path": path}}})
    for name, node in exports.items():
        vm.execute("block-export-add", {"type": "nbd", "id": name,
                                        "node-name": node, "name": name})
    yield
    vm.execute("nbd-server-stop")


@pytest.mark.parametrize("exports", ({"backup": "va-fmt"}, {}),
                         ids=("with-export", "without"))
def test_nbd_server_of_others(tmp, vm_factory, mount_factory, refuse,
                              exports):
    """It goes on serving, and when it has ended a mount works."""
    one = scene.build(tmp, vm_factory)
    with nbd_server(one.vm, f"{tmp}/nbd.sock", exports):
        during = one.vm.state()
        assert during["nbd-server"] == "on"
        words = ["backup", "va-fmt"] if exports else ["nbd-server-start"]
        refusal.assert_refused(refuse(one.vm.qmp_path), "VM web01", "NBD",
                               *words)
        assert one.vm.state() == during
        for name in exports:
            uri = f"nbd+unix:///{name}?socket={tmp}/nbd.sock"
            images.run("qemu-img", "convert", "-O", "raw", uri, f"{tmp}/out")
            assert images.sha256(f"{tmp}/out") == one.sha("va")
    one.assert_as_before()
    mount_factory(one.vm.qmp_path, name="later").umount()
    one.assert_as_before()


def test_busy_monitor(tmp, vm_factory, mount_factory, refuse):
    """QEMU serves one client: the other's session goes on undisturbed."""
    one = scene.build(tmp, vm_factory)
    with Qmp(one.vm.qmp_path) as other:
        refusal.assert_refused(refuse(one.vm.qmp_path), "VM web01",
                               one.vm.qmp_path, "busy")
        assert other.execute("query-status")["running"] is True
    one.assert_as_before()
    mnt = mount_factory(one.vm.qmp_path, name="later")
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def version(major, minor, micro):
    """A proxy's rewrite: QEMU greets with another version."""
    def rewrite(_request, message):
        if "QMP" in message:
            message["QMP"]["version"]["qemu"] = {
                "major": major, "minor": minor, "micro": micro}
        return message
    return rewrite


@pytest.mark.parametrize("number, word", (((7, 0, 0), ""), ((2, 5, 1), ""),
                                          ((7, 0, 99), "unsafe_qemu")))
def test_old_qemu(tmp, vm_factory, refuse, number, word):
    """Before 7.1 there is no way, and no option opens one."""
    one = scene.build(tmp, vm_factory)
    with QmpProxy(f"{tmp}/old.qmp", one.vm.qmp_path, version(*number)) as old:
        refusal.assert_refused(refuse(old.path, word), "VM old",
                               ".".join(map(str, number)), "too old", "7.1")
    one.assert_as_before()


def test_qemu_that_strands_io(tmp, vm_factory, mount_factory, refuse):
    """8.x with iothreads: only unsafe_qemu goes on, and says what may be."""
    one = scene.build(tmp, vm_factory, disk_options={"iothread": True})
    with QmpProxy(f"{tmp}/q.qmp", one.vm.qmp_path, version(8, 1, 0)) as proxy:
        refusal.assert_refused(refuse(proxy.path), "VM q", "iothreads",
                               "unsafe_qemu")
        one.assert_as_before()
        mnt = mount_factory(proxy.path, "unsafe_qemu", name="unsafe")
        assert "iothreads" in mnt.stderr()
        mnt.umount()
    one.assert_as_before()


def device_type(qdev, name):
    """A proxy's rewrite: the device at that path is of another type."""
    def rewrite(request, message):
        asked = (request or {}).get("arguments", {})
        if asked == {"path": qdev, "property": "type"}:
            message["return"] = name
        return message
    return rewrite


TWO = (("va", "raw", images.SIZE), ("vb", "raw", images.SIZE))


@pytest.mark.parametrize("kind", ("scsi-block", "scsi-generic",
                                  "vhost-user-blk"))
def test_passthrough(tmp, vm_factory, mount_factory, refuse, kind):
    """Refused by name, and accepted when it is left out.

    A real one needs a SCSI device of the host (/dev/sg*), which a test
    machine does not have; so QEMU's answer about the disk's type is
    rewritten on its way.
    """
    two = scene.build(tmp, vm_factory, TWO)
    lie = device_type(two.vm.qdev("vb"), kind)
    with QmpProxy(f"{tmp}/lie.qmp", two.vm.qmp_path, lie) as proxy:
        refusal.assert_refused(refuse(proxy.path), "VM lie", "disk vb", kind,
                               "disk=")
        two.assert_as_before()
        mnt = mount_factory(proxy.path, "disk=va", name="chosen")
        assert "vb.raw" not in os.listdir(mnt.join("lie"))
        assert two.vm.block_entry("vb")["inserted"]["node-name"] == "vb-fmt"
        assert two.vm.block_entry("va")["inserted"]["node-name"] != "va-fmt"
        mnt.umount()
    two.assert_as_before()


@pytest.mark.parametrize("method", ("filter", "job"))
def test_share_rw(tmp, vm_factory, mount_factory, refuse, method):
    """The one shared disk is named; without it the VM is accepted."""
    disks = [Disk(name, images.make("raw", f"{tmp}/{name}"),
                  share_rw=name == "vb") for name in ("va", "vb")]
    two = scene.of_disks(tmp, vm_factory, disks)
    refusal.assert_refused(refuse(two.vm.qmp_path, f"method={method}"),
                           "VM web01", "disk vb", "share-rw", "disk=")
    two.assert_as_before()
    mnt = mount_factory(two.vm.qmp_path, "disk=va", f"method={method}",
                        name="chosen")
    two.overwrite_all("va")
    two.assert_shown(mnt, "va")
    assert two.vm.block_entry("vb")["inserted"]["node-name"] == "vb-fmt"
    mnt.umount()
    two.assert_as_before()


def test_drive_without_a_device(tmp, vm_factory, refuse):
    path = images.create(f"{tmp}/x.img")
    vm = vm_factory("web01", args=[
        "-drive", f"if=none,id=drive-x,format=raw,file={path}"])
    before = vm.state()
    refusal.assert_refused(refuse(vm.qmp_path), "VM web01", "query-block",
                           "without a device")
    assert vm.state() == before


def test_no_chosen_disk(tmp, vm_factory, refuse):
    one = scene.build(tmp, vm_factory)
    refusal.assert_refused(refuse(one.vm.qmp_path, "disk=sd*:hd*"),
                           "VM web01", "no chosen disk")
    one.assert_as_before()


def test_scratch_that_cannot_be(tmp, vm_factory, refuse):
    """The disk that it was for is named."""
    one = scene.build(tmp, vm_factory)
    for scratch in (f"{tmp}/missing", one.vm.log_path, "/proc/self"):
        mnt = refuse(one.vm.qmp_path, f"scratch={scratch}")
        refusal.assert_refused(mnt, "VM web01", "disk va", scratch)
        os.unlink(mnt.log_path)
        one.assert_as_before()


def test_second_fleecefs(tmp, vm_factory, mount_factory, refuse):
    """Whoever came first keeps its snapshot and its content."""
    one = scene.build(tmp, vm_factory)
    first = mount_factory(one.vm.qmp_path, "discard", name="first")
    during = one.vm.state()
    one.overwrite_all("va")
    refusal.assert_refused(refuse(one.vm.qmp_path), "VM web01",
                           "has a snapshot", str(first.pid))
    assert one.vm.state() == during
    one.assert_shown(first)
    first.umount()
    one.assert_as_before()
    mount_factory(one.vm.qmp_path, name="later").umount()
    one.assert_as_before()


def test_object_that_is_not_ours(tmp, vm_factory, refuse):
    """Somebody's object of the name that notes our owner stays."""
    one = scene.build(tmp, vm_factory)
    one.vm.execute("object-add", {"qom-type": "authz-simple",
                                  "id": "fleecefs-owner",
                                  "identity": "x"})
    during = one.vm.state()
    refusal.assert_refused(refuse(one.vm.qmp_path), "VM web01",
                           "fleecefs-owner", "not ours")
    assert one.vm.state() == during
