# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that has the backup access of Proxmox VE's.

    with ProxmoxProxy(tmp / "100.qmp", vm.qmp_path) as proxy:

It stands in front of a real QEMU, as any QmpProxy, and carries out
backup-access-setup, backup-access-teardown and query-proxmox-support by QEMU's
own commands, so that every byte goes through real nodes.  What the commands
take, return, refuse and leave behind is as in pve-backup.c and
qapi/block-core.json of Proxmox VE's patches to QEMU 10.0 and 11.0.
"""

import itertools
import json
from dataclasses import dataclass

from qmpproxy import QmpProxy, Session

PREFIX = "pve-"                 # of the nodes that the access owns
_SUPPORT = {"pbs-dirty-bitmap": True, "query-bitmap-info": True,
            "backup-access-api": True, "backup-fleecing": True}
_MODES = (None, "none", "new", "use")
_ids = itertools.count(1)


class Refused(Exception):
    """What QEMU answers: its error's class and description."""

    def __init__(self, desc, error_class="GenericError"):
        super().__init__(desc)
        self.error = {"class": error_class, "desc": desc}


@dataclass
class Access:
    """The nodes of one disk; over is the throttle above them, or None."""
    device: str
    disk: str
    over: str
    scratch: str
    size: int
    number: int

    @property
    def filter(self):
        return f"{PREFIX}c{self.number}"

    @property
    def access(self):
        return f"{PREFIX}a{self.number}"

    def info(self):
        return {"node-name": self.access, "device": self.device,
                "size": self.size}


class ProxmoxProxy(QmpProxy):
    """The access belongs to QEMU and outlives its monitor's clients."""

    def __init__(self, path, target, rewrite=None):
        super().__init__(path, target, rewrite)
        self.target_id = None   # whose backup or access was the last
        self.active = None      # the Access of each disk; None: there is none
        self.fail_at = None     # the device that cannot be set up

    def session(self, client, server):
        return _Session(self, client, server)

    def another_backup(self, target_id="Proxmox"):
        """Somebody else's begins."""
        self.target_id, self.active = target_id, []


class _Session(Session):
    def forward(self, request):
        handler = {"query-proxmox-support": lambda arguments: _SUPPORT,
                   "backup-access-setup": self._set_up,
                   "backup-access-teardown": self._tear_down,
                   }.get(request["execute"])
        if self._is_not_the_monitors(request):
            handler = self._refuse_to_delete
        if handler is None:
            super().forward(request)
            return
        answer = {"id": request["id"]}
        try:
            answer["return"] = handler(request.get("arguments", {}))
        except Refused as refusal:
            answer["error"] = refusal.error
        self.pass_answer(json.dumps(answer).encode())

    def _ask(self, command, arguments=None):
        """Have QEMU itself do something, in the midst of a command."""
        ident = f"pve-{next(_ids)}"
        request = {"execute": command, "id": ident}
        if arguments:
            request["arguments"] = arguments
        self.server.sendall(json.dumps(request).encode() + b"\n")
        while True:
            for line in self.lines():
                answer = json.loads(line)
                if answer.get("id") != ident:
                    self.pass_answer(line)
                elif "error" in answer:
                    raise Refused(f"{command}: {answer['error']['desc']}")
                else:
                    return answer["return"]

    # --- what it owns ---

    @staticmethod
    def _is_not_the_monitors(request):
        return (request["execute"] == "blockdev-del" and
                request["arguments"]["node-name"].startswith(PREFIX))

    @staticmethod
    def _refuse_to_delete(arguments):
        raise Refused(f"Node {arguments['node-name']} is not owned by the "
                      "monitor")

    # --- setup ---

    def _set_up(self, arguments):
        proxy = self.proxy
        assert set(arguments) == {"target-id", "devices"}, arguments
        assert arguments["devices"], "QEMU aborts"
        if proxy.active is not None:
            raise Refused(f"previous backup for target '{proxy.target_id}' "
                          "not finished")
        made = [self._access(number, **device) for number, device
                in enumerate(arguments["devices"])]
        proxy.target_id = arguments["target-id"]
        for one in made:
            # those before it stay, and nobody knows of them
            self._insert(one)
        proxy.active = made
        return [one.info() for one in made]

    def _access(self, number, device, **more):
        assert set(more) <= {"bitmap-mode"}, more
        assert more.get("bitmap-mode") in _MODES[:2], more
        nodes = {node["node-name"]: node for node in self._ask(
            "query-named-block-nodes", {"flat": True})}
        root = self._root(device) or device
        fleecing = f"{device}-fleecing"
        for name in (root, fleecing):
            if name not in nodes:
                raise Refused(f"Device '{name}' not found", "DeviceNotFound")
        # by the names that disk.py gives
        over = root if nodes[root]["drv"] == "throttle" else None
        disk = f"{root[:-4]}-fmt" if over else root
        size = nodes[disk]["image"]["virtual-size"]
        other = nodes[fleecing]["image"]["virtual-size"]
        if size != other:
            raise Refused(f"Size mismatch for '{fleecing}' - sector count "
                          f"{other // 512} != {size // 512}")
        return Access(device, disk, over, fleecing, size, number)

    def _root(self, device):
        """The root node of a block backend that has this name."""
        for entry in self._ask("query-block"):
            if entry["device"] == device:
                return entry["inserted"]["node-name"]
        return None

    def _insert(self, one):
        if one.device == self.proxy.fail_at:
            raise Refused(f"{one.device} - setting up snapshot access "
                          "failed: no reason")
        self._ask("blockdev-add", {
            "driver": "copy-before-write", "node-name": one.filter,
            "file": one.disk, "target": one.scratch,
            "on-cbw-error": "break-snapshot"})
        self._put(one, one.filter)
        self._ask("blockdev-add", {
            "driver": "snapshot-access", "node-name": one.access,
            "file": one.filter, "discard": "unmap"})

    def _put(self, one, node):
        """Let what is above the disk, or the filter, have node below it."""
        if one.over:
            self._ask("blockdev-reopen", {"options": [{
                "driver": "throttle", "node-name": one.over, "file": node,
                "throttle-group": f"{one.over[:-4]}-tg"}]})
            return
        for entry in self._ask("query-block"):
            now = entry.get("inserted", {}).get("node-name")
            if now in (one.disk, one.filter):
                self._ask("qom-set", {"path": entry["qdev"],
                                      "property": "drive", "value": node})

    # --- teardown ---

    def _tear_down(self, arguments):
        proxy = self.proxy
        assert set(arguments) == {"target-id", "success"}, arguments
        if proxy.target_id is None:
            return {}
        if arguments["target-id"] != proxy.target_id:
            raise Refused("cannot teardown backup access - got target "
                          f"{arguments['target-id']} instead of "
                          f"{proxy.target_id}")
        if proxy.target_id == "Proxmox VE":
            raise Refused("cannot teardown backup access for PVE - use "
                          "backup-cancel instead")
        for one in proxy.active or ():
            self._ask("blockdev-del", {"node-name": one.access})
            self._put(one, one.disk)
            self._ask("blockdev-del", {"node-name": one.filter})
        proxy.active = None
        return {}
