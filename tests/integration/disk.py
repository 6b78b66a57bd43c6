# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test VM's disk is, and the QEMU arguments that attach it.

A disk named va is the qdev va.  In style "blockdev" its nodes are va-file,
va-fmt and, with a throttle, va-thr on top; in style "drive" it is the legacy
drive drive-va with QEMU's own node names.
"""

import json
from dataclasses import dataclass, field

ATTACHMENTS = ("virtio-blk", "virtio-scsi", "ide", "nvme", "usb-storage")
STYLES = ("blockdev", "drive")


@dataclass(frozen=True)
class Disk:
    """One disk of a test VM.

    iothread asks for a thread of its own (virtio-blk, or the disk's own
    virtio-scsi controller).  boot is the BIOS boot order, from 1; the disk
    with boot=1 is INT 13h drive 80h.  named=False leaves out the qdev id.
    options are more -device properties (serial=…).
    """
    id: str
    image: str
    fmt: str = "raw"
    attachment: str = "virtio-blk"
    style: str = "blockdev"
    throttle: bool = False
    iothread: bool = False
    read_only: bool = False
    share_rw: bool = False
    named: bool = True
    boot: int = 0
    options: dict = field(default_factory=dict, hash=False)

    def __post_init__(self):
        assert self.attachment in ATTACHMENTS, self.attachment
        assert self.style in STYLES, self.style
        assert not (self.throttle and self.style == "drive")

    @property
    def root(self):
        """The node (style blockdev) or drive that the device is given."""
        if self.style == "drive":
            return f"drive-{self.id}"
        return f"{self.id}-thr" if self.throttle else f"{self.id}-fmt"

    @property
    def bitmap_node(self):
        """The node that can hold dirty bitmaps (style blockdev)."""
        return f"{self.id}-fmt"


def disk_args(disks):
    """The QEMU arguments for all disks, in order."""
    args, ide = [], 0
    for disk in disks:
        args += _block_args(disk) + _thread_args(disk)
        args += _device_args(disk, ide)
        ide += disk.attachment == "ide"
    return args


def _block_args(disk):
    if disk.style == "drive":
        return ["-drive", f"id=drive-{disk.id},if=none,discard=unmap,"
                f"format={disk.fmt},file={disk.image},"
                f"readonly={_on(disk.read_only)}"]
    nodes = [{"driver": "file", "node-name": f"{disk.id}-file",
              "filename": str(disk.image), "discard": "unmap"},
             {"driver": disk.fmt, "node-name": f"{disk.id}-fmt",
              "file": f"{disk.id}-file", "discard": "unmap"}]
    args = []
    if disk.throttle:
        args += ["-object", json.dumps({
            "qom-type": "throttle-group", "id": f"{disk.id}-tg",
            "limits": {"iops-total": 1000000}})]
        nodes.append({"driver": "throttle", "node-name": f"{disk.id}-thr",
                      "throttle-group": f"{disk.id}-tg",
                      "file": f"{disk.id}-fmt"})
    for node in nodes:
        node["read-only"] = disk.read_only
        args += ["-blockdev", json.dumps(node)]
    return args


def _thread_args(disk):
    return ["-object", f"iothread,id=io-{disk.id}"] if disk.iothread else []


def _device_args(disk, ide):
    props = {"drive": disk.root, **disk.options}
    if disk.named:
        props["id"] = disk.id
    if disk.boot:
        props["bootindex"] = disk.boot
    if disk.share_rw:
        props["share-rw"] = "on"
    args = []
    for device in _ATTACH[disk.attachment](disk, props, ide):
        args += ["-device", device]
    return args


def _virtio_blk(disk, props, _ide):
    return [_device("virtio-blk-pci", props, _thread(disk))]


def _virtio_scsi(disk, props, _ide):
    controller = {"id": f"scsi-{disk.id}"}
    return [_device("virtio-scsi-pci", controller, _thread(disk)),
            _device("scsi-hd", props, {"bus": f"scsi-{disk.id}.0"})]


def _ide(_disk, props, ide):
    """One disk a bus: right for q35 (ide.0 … ide.5) and pc (ide.0, ide.1)."""
    return [_device("ide-hd", props, {"bus": f"ide.{ide}"})]


def _nvme(disk, props, _ide):
    return [_device("nvme", props, {"serial": f"s-{disk.id}"})]


def _usb(disk, props, _ide):
    return [_device("qemu-xhci", {"id": f"usb-{disk.id}"}),
            _device("usb-storage", props, {"bus": f"usb-{disk.id}.0"})]


_ATTACH = {"virtio-blk": _virtio_blk, "virtio-scsi": _virtio_scsi,
           "ide": _ide, "nvme": _nvme, "usb-storage": _usb}


def _thread(disk):
    return {"iothread": f"io-{disk.id}"} if disk.iothread else {}


def _device(driver, *props):
    merged = {}
    for more in props:
        merged.update(more)
    return ",".join(
        [driver] + [f"{key}={value}" for key, value in merged.items()])


def _on(flag):
    return "on" if flag else "off"
