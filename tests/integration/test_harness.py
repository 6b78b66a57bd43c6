# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness itself, without fleecefs: a check that cannot fail is none."""

import os
import socket

import pytest

import guest
import images
import vmstate
from deadline import DeadlinePassed
from disk import Disk
from growth import Growth
from qmp import Qmp, QmpClosed, QmpError
from qmpproxy import Fault, QmpProxy

ATTACHMENTS = [("virtio-blk", False), ("virtio-blk", True),
               ("virtio-scsi", False), ("virtio-scsi", True),
               ("ide", False), ("nvme", False), ("usb-storage", False)]


def two_disks(tmp, ring, **kwargs):
    """A boot disk with the guest on it, and a second one."""
    disks = []
    for number, name in enumerate(("va", "vb"), 1):
        path = images.create(f"{tmp}/{name}.raw", size=16 * images.MiB)
        disks.append(Disk(name, path, boot=number, **kwargs))
    guest.install(disks[0].image, ring)
    return disks


@pytest.mark.parametrize("machine", ("q35", "pc"))
@pytest.mark.parametrize("style", ("blockdev", "drive"))
@pytest.mark.parametrize("attachment, iothread", ATTACHMENTS)
def test_guest_writes(tmp, vm_factory, machine, style, attachment, iothread):
    """The boot sector lives on each attachment; its ring is one instant."""
    ring = guest.Ring(slots=64, drives=2)
    disks = two_disks(tmp, ring, attachment=attachment, style=style,
                      iothread=iothread)
    vm = vm_factory("vm", disks, machine=machine)
    for disk in disks:
        guest.wait_progress(vm, disk.id, 100)
    vm.execute("stop")
    newest = [ring.newest(ring.read(disk.image)) for disk in disks]
    guest.same_instant(newest)
    assert newest[0] >= 100


def test_ring_finds_two_instants(tmp):
    """The negative controls of Ring: a gap, a torn slot, two disks apart."""
    ring = guest.Ring(slots=4, sectors=2)
    slots = [count.to_bytes(4, "little") * 256 for count in (8, 5, 6, 7)]
    assert ring.newest(b"".join(slots)) == 8
    old = [slots[0], slots[1], (2).to_bytes(4, "little") * 256, slots[3]]
    with pytest.raises(AssertionError, match="not one instant"):
        ring.newest(b"".join(old))
    torn = slots[0][:512] + slots[1][:512] + b"".join(slots[1:])
    with pytest.raises(AssertionError, match="torn"):
        ring.newest(torn)
    guest.same_instant([9, 8])
    with pytest.raises(AssertionError):
        guest.same_instant([9, 7])
    with pytest.raises(AssertionError):
        guest.same_instant([8, 9])


@pytest.mark.parametrize("kind", images.KINDS)
@pytest.mark.parametrize("attachment", ("virtio-blk", "virtio-scsi", "ide",
                                        "nvme", "usb-storage"))
def test_qemu_io_writes(tmp, vm_factory, kind, attachment):
    """qemu-io on the device reaches the image; a wrong pattern is seen."""
    path = images.make(kind, f"{tmp}/va.img")
    disk = Disk("va", path, images.fmt_of(kind), attachment)
    vm = vm_factory("vm", [disk])
    vm.write("va", 1024, 65536, 0x55)
    vm.reads("va", 1024, 65536, 0x55)
    with pytest.raises(AssertionError, match="Pattern verification failed"):
        vm.reads("va", 1024, 65536, 0x56)


def test_device_without_id(tmp, vm_factory):
    """A device without an id is found by its node or drive."""
    disks = [Disk(name, images.create(f"{tmp}/{name}"), style=style,
                  named=False)
             for name, style in (("va", "blockdev"), ("vb", "drive"))]
    vm = vm_factory("vm", disks)
    for disk in disks:
        vm.write(disk.id, 0, 512, 0x11)
        vm.reads(disk.id, 0, 512, 0x11)


def test_removable_and_pflash(tmp, vm_factory):
    """CD-ROM, floppy, empty drives and pflash can be there."""
    cd = images.create(f"{tmp}/cd", size=images.MiB)
    fd = images.create(f"{tmp}/fd", size=1440 * images.KiB)
    code = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    if not os.path.exists(code):
        pytest.skip("OVMF is not installed")
    variables = images.create(f"{tmp}/vars", size=528 * images.KiB)
    for number, (cdrom, floppy) in enumerate((("", ""), (cd, fd))):
        vm = vm_factory(f"vm{number}", cdrom=cdrom, floppy=floppy,
                        pflash=(code, variables), machine="pc")
        devices = {entry["device"] for entry in vm.execute("query-block")}
        assert {"drive-cd", "drive-fd", "pflash0", "pflash1"} <= devices
        vm.quit()


def test_state_shows_each_thing(tmp, vm_factory):
    """state() is equal when all is put back, and differs in between."""
    path = images.create(f"{tmp}/va.raw")
    vm = vm_factory("vm", [Disk("va", path, throttle=True)])
    before = vm.state()
    scratch = images.create(f"{tmp}/scratch")
    steps = (("blockdev-add", {"driver": "file", "node-name": "s",
                               "filename": scratch},
              "blockdev-del", {"node-name": "s"}),
             ("block-dirty-bitmap-add", {"node": "va-fmt", "name": "b"},
              "block-dirty-bitmap-remove", {"node": "va-fmt", "name": "b"}),
             ("object-add", {"qom-type": "authz-simple", "id": "o",
                             "identity": "i"},
              "object-del", {"id": "o"}),
             ("nbd-server-start", {"addr": {"type": "unix", "data": {
                 "path": f"{tmp}/nbd"}}}, "nbd-server-stop", None),
             ("stop", None, "cont", None))
    for do, do_args, undo, undo_args in steps:
        vm.execute(do, do_args)
        assert vm.state() != before, do
        vm.execute(undo, undo_args)
        assert vm.state() == before, undo


def test_state_leaves_a_running_nbd_server_alone(tmp, vm_factory):
    vm = vm_factory("vm", [Disk("va", images.create(f"{tmp}/va.raw"))])
    vm.execute("nbd-server-start", {"addr": {
        "type": "unix", "data": {"path": f"{tmp}/nbd"}}})
    assert vm.state()["nbd-server"] == "on"
    assert vm.state()["nbd-server"] == "on"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp}/nbd")


def test_a_dead_qemu_fails(tmp, qemu):
    """A QEMU that ends by itself is a failure with its log."""
    from vm import Vm
    with pytest.raises(AssertionError, match="no-such-device"):
        with Vm(tmp, "vm", args=["-device", "no-such-device"]):
            pass
    with pytest.raises(AssertionError, match="ended by itself"):
        with Vm(tmp, "vm") as vm:
            os.kill(vm.pid, 9)
            vm.process.wait(30)


def test_proxy_passes_fds(tmp, vm_factory):
    """Descriptors reach QEMU through the proxy, in each client's session.

    (QEMU 7.2 drops an unused fdset when its monitor's client leaves.)
    """
    vm = vm_factory("vm")
    with QmpProxy(f"{tmp}/p.qmp", vm.qmp_path) as proxy:
        for path in (f"{tmp}/f0", f"{tmp}/f1"):
            with Qmp(proxy.path) as qmp, open(path, "w+b") as file:
                qmp.execute("add-fd", fds=[file.fileno()])
                qmp.execute("getfd", {"fdname": "f"}, fds=[file.fileno()])
                assert vmstate.open_files(vm.pid).count(path) == 2
                qmp.execute("closefd", {"fdname": "f"})
        assert proxy.log == ["add-fd", "getfd", "closefd"] * 2


FAULTS = {"fail": QmpError, "close": QmpClosed, "close-after": QmpClosed,
          "swallow": DeadlinePassed, "garbage": ValueError,
          "hold": DeadlinePassed}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("at", (2, "stop"))
def test_proxy_faults(tmp, vm_factory, kind, at):
    """A fault strikes once, at its number or name, with the right effect."""
    vm = vm_factory("vm")
    with QmpProxy(f"{tmp}/p.qmp", vm.qmp_path) as proxy:
        proxy.arm(Fault(kind, at))
        with Qmp(proxy.path) as qmp:
            qmp.execute("query-status")
            patience = 1 if FAULTS[kind] is DeadlinePassed else 30
            with pytest.raises(FAULTS[kind]):
                qmp.execute("stop", deadline=patience)
            proxy.disarm()
            if kind in ("fail", "swallow", "hold"):
                qmp.execute("query-status")
        assert proxy.struck == 1
    running = vm.execute("query-status")["running"]
    assert running == (kind in ("fail", "close", "garbage"))


@pytest.mark.parametrize("kind", images.KINDS)
@pytest.mark.parametrize("size", (images.PATTERN_SIZE,
                                  40 * images.MiB + 7 * 512))
def test_content_sha(tmp, kind, size):
    """content_sha() sees every pattern, and each overwrite changes it."""
    fmt = images.fmt_of(kind)
    patterns = images.PATTERNS if size == images.PATTERN_SIZE else ()
    path = images.make(kind, f"{tmp}/i", size, patterns=patterns)
    assert images.virtual_size(path, fmt) == size
    raw = images.to_raw(path, fmt, f"{tmp}/raw")
    assert images.content_sha(path, fmt) == images.sha256(raw)
    with open(raw, "rb") as file:
        for pattern, offset, length in patterns:
            file.seek(offset)
            assert file.read(length) == bytes([pattern]) * length
    before = images.content_sha(path, fmt)
    images.write_patterns(path, fmt, [(0x77, size - 512, 512)])
    assert images.content_sha(path, fmt) != before


def test_same_content_in_each_run(tmp):
    first = images.make("qcow2-backing", f"{tmp}/a")
    second = images.make("qcow2-backing", f"{tmp}/b")
    assert (images.content_sha(first, "qcow2")
            == images.content_sha(second, "qcow2"))


def test_growth():
    """What an allocator takes and gives back is no growth, and does not hide
    a leak of 3 KiB a cycle in 1,000."""
    use = Growth(one=os.getpid())
    use.kib["one"] = [50000 + 97 * cycle % 900 for cycle in range(1000)]
    use.assert_none("one")
    use.kib["one"] = [kib + 3 * cycle
                      for cycle, kib in enumerate(use.kib["one"])]
    with pytest.raises(AssertionError):
        use.assert_none("one")
