# SPDX-License-Identifier: GPL-2.0-or-later
"""A mount of two VMs, to one of which things happen.

All the while somebody reads the other VM's disk, and gets the right bytes.
"""

import hashlib
import os
import threading

import images
import scene
from deadline import wait_for

SIZE = 4 * images.MiB
DISKS = (("va", "qcow2", SIZE), ("sb", "qcow2", SIZE))


class Reader(threading.Thread):
    """Reads a whole file again and again, until stopped or refused.

    A digest that is not the first one's is an error as well.
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.rounds, self.error = path, 0, None
        self._ending = threading.Event()
        self.start()
        wait_for(lambda: self.rounds or self.error, what=f"a read of {path}")

    def run(self):
        first = None
        try:
            while not self._ending.is_set():
                digest = self._digest()
                first = first or digest
                assert digest == first, self.path
                self.rounds += 1
        except (AssertionError, OSError) as error:
            self.error = error

    def _digest(self):
        digest = hashlib.sha256()
        fd = os.open(self.path, os.O_RDONLY)
        try:
            at = 0
            while data := os.pread(fd, 256 << 10, at):
                digest.update(data)
                at += len(data)
        finally:
            os.close(fd)
        return digest.digest()

    def refused(self):
        """Wait until a read fails; its errno."""
        wait_for(lambda: self.error, what=f"an error of {self.path}")
        assert isinstance(self.error, OSError), self.error
        return self.error.errno

    def stop(self):
        """Assert that it has read once more since now, and never wrongly."""
        rounds = self.rounds
        wait_for(lambda: self.error or self.rounds > rounds,
                 what=f"one more read of {self.path}")
        self._ending.set()
        self.join()
        assert self.error is None, self.error


class World:
    """VM web01, to which it happens, beside web02, in one mount.

    discard: no byte comes from the page cache.
    """

    def __init__(self, tmp, vm_factory, mount_factory, method, iothread):
        self.tmp, self.method, self.iothread = tmp, method, iothread
        self.afterwards = lambda world: None
        self.one, self.peer = (scene.build(
            tmp, vm_factory, DISKS, name=name,
            disk_options={"iothread": iothread, "attachment": "virtio-scsi"})
            for name in ("web01", "web02"))
        self.mnt = mount_factory(tmp, "discard", f"method={method}",
                                 "read_timeout=20")
        self.peer_reader = Reader(self.peer.file(self.mnt, "va"))
        for one in (self.one, self.peer):
            one.vm.write("va", 0, images.MiB, 0xee)

    @property
    def vm(self):
        return self.one.vm

    def root(self, disk_id="va"):
        """The node that the disk's device has now."""
        return self.vm.block_entry(disk_id)["inserted"]["node-name"]

    def state(self):
        """What the mount says of web01's snapshot."""
        return self.mnt.vm_status("web01")["state"]

    def assert_live(self):
        """Whatever happened, the view is right, also under new writes."""
        self.one.assert_shown(self.mnt)
        for disk_id in self.one.expected:
            self.one.overwrite_all(disk_id, 0x5c)
        self.one.assert_shown(self.mnt)
        assert self.state() == "live"

    def end(self):
        """The other VM never noticed; the mount ends, and both are clean."""
        self.peer.assert_shown(self.mnt)
        self.peer_reader.stop()
        if os.path.exists(self.mnt.join("web01")):
            os.rmdir(self.mnt.join("web01"))
        self.mnt.umount()
        self.peer.assert_as_before()
        self.afterwards(self)
        if self.one.before:
            self.one.assert_as_before()
