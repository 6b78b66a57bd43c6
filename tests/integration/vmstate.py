# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparable picture of everything in QEMU that a mount must put back.

Two pictures taken before a mount and after its end are equal; the picture is
plain dicts and lists, so that pytest shows what differs.
"""

import os

from qmp import QmpError


def qemu_state(qmp, pid, private_dir):
    """The picture, through an open QMP session.

    private_dir holds the socket with which the NBD server is probed: there
    is no query for it, so it is started and stopped if it is off.
    """
    return {
        "status": qmp.execute("query-status")["status"],
        "fdsets": qmp.execute("query-fdsets"),
        "peripherals": _children(qmp, "/machine/peripheral"),
        **block_state(qmp, pid, private_dir),
    }


def block_state(qmp, pid, private_dir):
    """The same of a QEMU that is nothing but a block layer."""
    return {
        "nodes": _nodes(qmp),
        "bitmaps": _bitmaps(qmp),
        "devices": _devices(qmp),
        "exports": qmp.execute("query-block-exports"),
        "jobs": qmp.execute("query-jobs"),
        "block-jobs": qmp.execute("query-block-jobs"),
        "objects": _children(qmp, "/objects"),
        "nbd-server": _nbd_server(qmp, private_dir),
        "open-files": open_files(pid),
    }


def bitmaps(qmp, node):
    """The named bitmaps of one node: name -> QEMU's BlockDirtyInfo."""
    for info in qmp.execute("query-named-block-nodes", {"flat": True}):
        if info["node-name"] == node:
            return {bitmap["name"]: bitmap
                    for bitmap in info.get("dirty-bitmaps", [])
                    if bitmap.get("name")}
    raise KeyError(node)


def open_files(pid):
    """Paths of the regular files and devices that the process has open."""
    paths = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            path = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if path.startswith("/") and not path.startswith("/memfd:"):
            paths.append(path)
    return sorted(paths)


def socket_count(pid):
    """How many sockets the process has open: shows a deposited one left."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def _nodes(qmp):
    nodes = qmp.execute("query-named-block-nodes", {"flat": True})
    return sorted((node["node-name"], node["drv"], node["ro"])
                  for node in nodes)


def _bitmaps(qmp):
    """Named bitmaps; their counts move with the guest and are left out."""
    found = []
    for node in qmp.execute("query-named-block-nodes", {"flat": True}):
        for bitmap in node.get("dirty-bitmaps", []):
            if bitmap.get("name"):
                found.append((node["node-name"], bitmap["name"],
                              bitmap["granularity"], bitmap["recording"],
                              bitmap["persistent"], bitmap["busy"]))
    return sorted(found)


def _devices(qmp):
    """Each device's root node, permission to write and I/O status."""
    devices = {}
    for entry in qmp.execute("query-block"):
        inserted = entry.get("inserted", {})
        devices[entry.get("qdev") or entry["device"]] = (
            inserted.get("node-name"), inserted.get("ro"),
            entry.get("io-status"))
    return devices


def _children(qmp, path):
    """Its objects; a storage daemon makes the place with the first."""
    try:
        items = qmp.execute("qom-list", {"path": path})
    except QmpError as error:
        assert error.error_class == "DeviceNotFound", error
        return []
    return sorted(item["name"] for item in items
                  if item["type"].startswith("child<"))


def _nbd_server(qmp, private_dir):
    probe = os.path.join(private_dir, "nbd-probe.sock")
    try:
        qmp.execute("nbd-server-start", {
            "addr": {"type": "unix", "data": {"path": probe}}})
    except QmpError as error:
        assert "already running" in error.desc, error
        return "on"
    qmp.execute("nbd-server-stop")
    return "off"
