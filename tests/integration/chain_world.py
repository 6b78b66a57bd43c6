# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM to which everything happens that happens to VMs, by a seed.

Its disks are a qcow2 and raw ones, some hot-plugged; whoever writes to them
tells the model (chain_model.py).  Others have bitmaps on them, too.  Every
choice comes from one random.Random.
"""

import contextlib
import os
import threading

import chain
import guest
import images
import qmp
from chain_model import DiskModel, Model
from deadline import wait_for
from disk import Disk
from vm import Vm

SIZES = (2 * images.MiB, 3 * images.MiB + 7 * 512, 5 * images.MiB + 7 * 512)
RING = {"slots": 128, "sectors": 16}    # 1 MiB, from 1 MiB on
# (granularity, persistent where the format can, disabled)
FOREIGN = {"libvirt-cp1": (65536, True, False),
           "pbs-incremental-dirty-bitmap": (4 << 20, False, False),
           "user": (4096, True, True),
           "fleecefs.of.another.kind": (65536, True, False)}


def choose(rng, weights):
    """One of the keys, by their weights."""
    return rng.choices(list(weights), list(weights.values()))[0]


def random_write(rng, disk):
    """A qemu-io command of a guest, as (command, offset, length)."""
    # over an iothread, qemu-io's own "write -z" aborts QEMU 7.2
    zero = 0 if disk.iothread else 1
    verb = choose(rng, {f"write -P {rng.randrange(1, 256)}": 6,
                        "write -z": zero, "write -z -u": zero, "discard": 2})
    low, high = 0, disk.size
    if disk.living:
        low = chain.CLUSTER             # the boot sector stays
    if disk.living and " -P " not in verb:
        # a discard of a cluster to which a write is under way leaves QEMU's
        # qcow2 with a cluster in use that is free (seen with 7.2.22)
        high = guest.Ring(**RING).offset
    length = min(512 << rng.randrange(12), high - low)
    if rng.random() < 0.4:
        length = rng.randrange(512, length + 1, 512)
    grain = rng.choice((512, 4096, chain.CLUSTER))
    offset = rng.randrange(low, high - length + 1, grain)
    return f"{verb} {offset} {length}", offset, length


class World:
    """The VM and all that is outside of fleecefs; a context manager.

    living: a guest writes all the time through its devices.
    """

    def __init__(self, tmp, rng, living, iothread):
        self.tmp, self.rng, self.living = tmp, rng, living
        self.name = "web01"
        self.monitor = f"{tmp}/{self.name}.second"
        fixed = self._fixed(iothread)
        self.ring = guest.Ring(drives=len(fixed), **RING)
        if living:
            self._install(fixed[0])
        self.model = Model([self._model(disk) for disk in fixed])
        for disk_id in ("vh", "vp"):
            self._add_hot(disk_id)
        self.vm = Vm(tmp, self.name, fixed, args=self._args())
        self.foreign = {}       # node -> name -> what QEMU said of it

    def _args(self):
        args = ["-chardev", f"socket,id=second,path={self.monitor},"
                "server=on,wait=off", "-mon", "chardev=second,mode=control",
                "-device", "virtio-scsi-pci,id=hot",
                "-device", "pcie-root-port,id=slot7,chassis=7"]
        if self.rng.random() < 0.5:
            args += ["-uuid", f"8f1c7c7e-2f5b-4d5a-9a53-"
                              f"{self.rng.randrange(1 << 47):012x}"]
        return args

    def _fixed(self, iothread):
        count = 2 if self.living else self.rng.randint(1, 3)
        formats = ["qcow2", "raw", self.rng.choice(("qcow2", "raw"))]
        self.rng.shuffle(formats)
        disks = []
        for number in range(count):
            disk_id = "v" + "abc"[number]
            path = self._image(disk_id, formats[number])
            disks.append(Disk(disk_id, path, formats[number],
                              throttle=self.rng.random() < 0.25,
                              iothread=iothread, boot=number + 1))
        return disks

    def _image(self, disk_id, fmt):
        return images.make(fmt, f"{self.tmp}/{disk_id}.img",
                           self.rng.choice(SIZES),
                           seed=self.rng.randrange(1 << 30))

    def _install(self, disk):
        install = guest.install if disk.fmt == "raw" else guest.install_qcow2
        install(disk.image, self.ring)

    def _model(self, disk):
        size = images.virtual_size(disk.image, disk.fmt)
        return DiskModel(disk.id, disk.fmt, disk.image, size,
                         disk.bitmap_node, disk.root, living=self.living,
                         iothread=disk.iothread, sizes={size})

    def _add_hot(self, disk_id):
        fmt = self.rng.choice(("qcow2", "raw"))
        disk = Disk(disk_id, self._image(disk_id, fmt), fmt)
        model = self._model(disk)
        model.plugged = model.living = False
        self.model.disks[disk_id] = model

    def __enter__(self):
        self.vm.__enter__()
        try:
            self._started()
        except BaseException:
            self.vm.kill()
            raise
        return self

    def __exit__(self, *exc):
        self.vm.__exit__(*exc)
        if not exc[0]:
            self._check_images()

    def _check_images(self):
        """Whatever happened, no image is broken; QEMU does not run."""
        for disk in self.model.disks.values():
            if disk.fmt == "qcow2":
                images.check(disk.image)

    def _started(self):
        if self.living:
            for disk in self.model.plugged():
                guest.wait_progress(self.vm, disk.id, 5)
        self.foreign = {}
        for disk in self.model.plugged():
            self.add_foreign(disk)

    # What others keep on the disks.

    def add_foreign(self, disk):
        """Somebody adds the bitmaps that are not there yet; note them all."""
        with self.vm.qmp() as session:
            there = chain.node_bitmaps(session)[disk.node]
            for name, (grain, persistent, off) in FOREIGN.items():
                if name not in there:
                    session.execute("block-dirty-bitmap-add", {
                        "node": disk.node, "name": name, "disabled": off,
                        "granularity": grain,
                        "persistent": persistent and disk.keeps})
            there = chain.node_bitmaps(session)[disk.node]
        self.foreign[disk.node] = _foreign(there)

    def check_foreign(self, bitmaps):
        """They are as they were, but for what the guest wrote."""
        for node, before in self.foreign.items():
            now = _foreign(bitmaps[node])
            assert now.keys() == before.keys(), (node, before, now)
            for name, was in before.items():
                _check_one(was, now[name])
            self.foreign[node] = now

    def _drop_broken_foreign(self, disk):
        """qcow2 does not resize with an inconsistent bitmap in it."""
        with self.vm.qmp() as session:
            for name, one in self.foreign[disk.node].items():
                if one.get("inconsistent"):
                    session.execute("block-dirty-bitmap-remove", {
                        "node": disk.node, "name": name})

    # What the guest does.

    def writes(self, session, rng, count):
        """count writes on random disks, in an open QMP session."""
        start = os.path.getsize(self.vm.log_path)
        for _ in range(count):
            disk = rng.choice(self.model.plugged())
            command, offset, length = random_write(rng, disk)
            self.model.touch(disk, offset, length)
            said = session.hmp(
                f'qemu-io -d {self.vm.qdev(disk.id)} "{command}"')
            assert "ailed" not in said and "rror" not in said, said
        with open(self.vm.log_path, errors="replace") as log:
            log.seek(start)
            said = log.read()
        # of a guest that was stopped and goes on: quirks.c, fixed_iothread
        said = said.replace("virtio_bus_start_ioeventfd: failed.", "")
        assert "ailed" not in said and "nvalid" not in said, said

    def burst(self, most=12):
        """Up to that many writes at once."""
        with self.vm.qmp() as session:
            self.writes(session, self.rng, self.rng.randint(1, most))

    def content(self, disk):
        """The bytes that the guest would read; nobody may be writing."""
        self.vm_io(disk, "flush")
        path = disk.image
        if disk.fmt != "raw":
            path = images.to_raw(path, disk.fmt, f"{self.tmp}/content")
        with open(path, "rb") as file:
            return file.read()

    def vm_io(self, disk, command):
        with self.vm.qmp() as session:
            session.hmp(f'qemu-io -d {self.vm.qdev(disk.id)} "{command}"')

    @contextlib.contextmanager
    def still(self):
        """Stop the guest for a while."""
        self.vm.execute("stop")
        try:
            yield
        finally:
            self.vm.execute("cont")

    def run_once(self):
        """Within still(): until the guest has used each disk."""
        self.vm.execute("cont")
        for disk in self.model.plugged():
            if disk.living:
                guest.wait_progress(self.vm, disk.id)
        self.vm.execute("stop")

    # What happens to the VM.

    def restart(self, clean):
        """QEMU ends, well or not, and starts again; hot disks are gone."""
        qemu_ends = self.vm.quit if clean else self.vm.kill
        qemu_ends()
        for disk in self.model.plugged():
            (self.model.closed if clean else self.model.killed)(disk)
            disk.plugged = disk.id in self.vm.disks
        self._check_images()
        before = self.foreign
        self.vm.start()
        self._started()
        if clean:
            self._check_survivors(before)

    def _check_survivors(self, before):
        for disk in self.model.plugged():
            for name, was in before[disk.node].items():
                if was["persistent"] and not was.get("inconsistent"):
                    _check_one(was, self.foreign[disk.node][name])

    def resize(self, disk):
        """Another size than it ever had."""
        if any(point.broken for point in disk.all_points()):
            return "not resized: broken bitmaps"
        self._drop_broken_foreign(disk)
        most = 512 * self.rng.randint(1, 300)
        size = disk.size + (most if disk.living or self.rng.random() < 0.7
                            else -most)
        if size in disk.sizes or not images.MiB < size < 12 * images.MiB:
            return f"not resized to {size}"
        self.vm.execute("block_resize", {"node-name": disk.root,
                                         "size": size})
        disk.size = size
        disk.sizes.add(size)
        self.add_foreign(disk)
        return f"resized to {size}"

    def plug(self, disk):
        """vh goes to a SCSI bus, vp to a PCIe port."""
        device = {"driver": "scsi-hd", "bus": "hot.0"}
        if disk.id == "vp":
            device = {"driver": "virtio-blk-pci", "bus": "slot7"}
        with self.vm.qmp() as session:
            session.execute("blockdev-add", {
                "driver": "file", "node-name": f"{disk.id}-file",
                "filename": disk.image, "discard": "unmap"})
            session.execute("blockdev-add", {
                "driver": disk.fmt, "node-name": disk.node,
                "file": f"{disk.id}-file", "discard": "unmap"})
            session.execute("device_add", {
                "id": disk.id, "drive": disk.node, **device})
        disk.plugged = True
        self.vm.qdev(disk.id)       # while nobody has the monitor
        self.add_foreign(disk)

    def unplug(self, disk):
        """Only SCSI disks go without the guest's help."""
        with self.vm.qmp() as session:
            session.execute("device_del", {"id": disk.id})
            session.wait_event("DEVICE_DELETED", {"device": disk.id})
            for node in (disk.node, f"{disk.id}-file"):
                session.execute("blockdev-del", {"node-name": node})
        self.model.closed(disk)
        disk.plugged = False
        del self.foreign[disk.node]

    def leftovers(self):
        """What a fleecefs has in this QEMU now, but for bitmaps."""
        with self.vm.qmp() as session:
            nodes = session.execute("query-named-block-nodes", {"flat": True})
            objects = session.execute("qom-list", {"path": "/objects"})
            return ([node["node-name"] for node in nodes
                     if node["node-name"].startswith("fl-")]
                    + [one["name"] for one in objects
                       if one["name"].startswith("fleecefs")]
                    + session.execute("query-block-exports")
                    + session.execute("query-jobs"))


class Writer:
    """A thread that writes over the second monitor, as nobody can stop it.

    A guest that is stopped does not keep it from writing.  pause() does, and
    returns when no write is under way.
    """

    def __init__(self, world, seed):
        self.world, self.error, self.count = world, None, 0
        self.rng = type(world.rng)(seed)
        self.gate = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "the writer does not end"
        if self.error and not exc[0]:
            raise self.error

    def wait_progress(self, more=3):
        """Wait for that many more writes."""
        goal = self.count + more
        wait_for(lambda: self.count >= goal or self.error, what="the writer")

    def pause(self):
        self.gate.acquire()

    def resume(self):
        self.gate.release()

    def _run(self):
        try:
            with qmp.Qmp(self.world.monitor) as session:
                while not self.over.wait(self.rng.uniform(0, 0.01)):
                    with self.gate:
                        self.world.writes(session, self.rng, 1)
                    self.count += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


def _foreign(bitmaps):
    return {name: one for name, one in bitmaps.items()
            if chain.parse(name) is None}


def _check_one(was, now):
    keys = ("granularity", "recording", "persistent", "busy", "inconsistent")
    assert {key: was.get(key) for key in keys} == {
        key: now.get(key) for key in keys}, (was, now)
    if was["recording"]:
        assert now["count"] >= was["count"], (was, now)
    else:
        assert now["count"] == was["count"], (was, now)
