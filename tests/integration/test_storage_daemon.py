# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks that a qemu-storage-daemon serves to others."""

import contextlib
import os
import signal
import subprocess
import threading

import pytest

import fleecectl
import guest
import images
import refusal
import scene
from chain import CLUSTER
from deadline import wait_for
from disk import Disk
from nights import Nights

MiB = images.MiB
TWO = (("va", "raw", 4 * MiB), ("vb", "qcow2", 3 * MiB + 7 * 512))


@pytest.fixture
def served(tmp, daemon_factory):
    return scene.build_served(tmp, daemon_factory, TWO)


def test_chain(tmp, served, mount_factory):
    """The bytes at the instant, night by night."""
    nights = Nights(tmp, served, mount_factory, "unsafe_qemu")
    facts = nights.snapshot()
    assert facts["method"] == "job" and facts["pause_ms"] == 0
    assert "storage daemon" in facts["method_reason"]
    assert any("FUSE export" in text for text in facts["warnings"])
    assert [disk["id"] for disk in facts["disks"]] == ["va", "vb"]
    for disk_id in served.expected:
        served.overwrite_all(disk_id)
    served.assert_shown(nights.mnt)
    assert nights.update() == 0
    nights.commit()
    nights.release()
    table = fleecectl.good(tmp, "checkpoints", served.vm.qmp_path)
    assert "nightly" in table and "vb" in table
    nights.backup()
    served.vm.write("va", 2 * CLUSTER, 512, 0x11)
    nights.snapshot()
    assert nights.modes() == {"va": None, "vb": None}
    assert nights.dirty("va") == [(2 * CLUSTER, CLUSTER)]
    assert nights.dirty("vb") == []
    assert nights.update() == 0
    nights.assert_copied()
    nights.release()
    fleecectl.good(tmp, "checkpoints", served.vm.qmp_path, "--delete",
                   "nightly")
    nights.mnt.umount()
    served.assert_as_before()


@pytest.mark.parametrize("guardian", (True, False))
def test_killed(tmp, served, mount_factory, guardian):
    """A death is a plain disconnect, for no socket can be deposited."""
    mnt = mount_factory(served.vm.qmp_path, "unsafe_qemu", "chain=nightly")
    served.assert_shown(mnt, "va")
    assert served.vm.state() != served.before
    mnt.kill(guardian=not guardian)
    wait_for(lambda: not mnt.processes(), what="the end of all")
    if not guardian:
        subprocess.run(["umount", "-l", mnt.path], check=True)
        assert served.vm.state() != served.before
        said = fleecectl.run(tmp, "recover", served.vm.qmp_path)
        assert said.returncode == 0 and "dead fleecefs" in said.stderr, said
    served.assert_as_before()
    for disk_id in served.expected:
        served.overwrite_all(disk_id)


RING = guest.Ring(drives=2, slots=64)


def start_guest(tmp, daemon, vm_factory):
    """A guest that writes for ever on the disks of the daemon."""
    words = ["-object", "memory-backend-memfd,id=ram,size=64M,share=on",
             "-machine", "memory-backend=ram"]
    for number, disk_id in enumerate(daemon.disks, 1):
        words += ["-chardev", f"socket,id=c-{disk_id},"
                  f"path={daemon.vhost_path(disk_id)}",
                  "-device", f"vhost-user-blk-pci,id={disk_id},"
                  f"chardev=c-{disk_id},bootindex={number}"]
    return vm_factory("guest", args=words)


def wait_writes(images_of, more=20):
    """Wait until the guest has finished that many more rounds."""
    def newest():
        return max(RING.counts(RING.read(images_of[1])))

    start = newest()
    wait_for(lambda: newest() >= start + more, 60, "guest writes")


def assert_one_instant(mnt, before=None):
    """Both disks are at one instant, and stay there."""
    shown = [RING.read(mnt.join("web01", f"{disk}.raw"))
             for disk in ("va", "vb")]
    guest.same_instant([RING.newest(data) for data in shown])
    assert before in (None, shown)
    return shown


class Reader(threading.Thread):
    """Reads a file again and again until that fails."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.rounds = path, 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                images.sha256(self.path)
                self.rounds += 1


def start_both(tmp, daemon_factory, vm_factory, **options):
    """A daemon whose disks a guest writes to; with their images."""
    paths = [images.create(f"{tmp}/{name}.img", size=4 * MiB)
             for name in ("va", "vb")]
    guest.install(paths[0], RING)
    daemon = daemon_factory("web01", [
        Disk(name, path) for name, path in zip(("va", "vb"), paths)],
        **options)
    start_guest(tmp, daemon, vm_factory)
    wait_writes(paths)
    return daemon, paths


def test_guest(tmp, daemon_factory, vm_factory, mount_factory):
    """A guest writes over vhost-user-blk: one instant, and it goes on, also
    when the daemon dies under a reader."""
    daemon, paths = start_both(tmp, daemon_factory, vm_factory)
    before = daemon.state()
    mnt = mount_factory(daemon.qmp_path, "discard")
    shown = assert_one_instant(mnt)
    wait_writes(paths, RING.slots)
    assert_one_instant(mnt, shown)
    assert RING.newest(RING.read(paths[1])) > RING.newest(shown[1])
    reader = Reader(mnt.join("web01", "va.raw"))
    wait_for(lambda: reader.rounds > 2, what="reading past the page cache")
    os.kill(mnt.pid, signal.SIGKILL)
    wait_for(lambda: not mnt.processes(), what="the end of all")
    wait_for(lambda: not reader.is_alive(), what="the reader's error")
    wait_writes(paths)
    assert daemon.state() == before


def test_guest_with_iothreads(tmp, daemon_factory, vm_factory,
                              mount_factory):
    """The daemon would abort, whatever is asked for: the guest goes on."""
    daemon, paths = start_both(tmp, daemon_factory, vm_factory,
                               iothread=True)
    before = daemon.state()
    refusal.assert_refused(mount_factory(
        daemon.qmp_path, "unsafe_qemu", check=False), "iothreads", "without")
    assert daemon.state() == before
    wait_writes(paths)


def add_nbd(tmp, daemon):
    daemon.execute("nbd-server-start", {"addr": {
        "type": "unix", "data": {"path": f"{tmp}/theirs.nbd"}}})
    daemon.execute("blockdev-add", {
        "driver": "null-co", "node-name": "none", "size": MiB})
    daemon.execute("block-export-add", {
        "type": "nbd", "id": "theirs", "node-name": "none"})


def add_below(_, daemon):
    daemon.execute("block-export-add", {
        "type": "vhost-user-blk", "id": "below", "node-name": "va-file",
        "addr": {"type": "unix", "path": daemon.vhost_path("below")},
        "writable": True})


def remove_export(_, daemon):
    daemon.execute("block-export-del", {"id": "x-va"})
    wait_for(lambda: not daemon.execute("query-block-exports"),
             what="the export's end")


@pytest.mark.parametrize("words, change, said", (
    ((), None, ("disk va", "FUSE export", "unsafe_qemu")),
    (("method=filter",), None, ("method=job",)),
    (("freeze=require", "agent=/nobody"), None, ("no guest",)),
    (("disk=x",), None, ("no chosen node",)),
    (("unsafe_qemu",), add_below, ("disk va", "va-file")),
    (("unsafe_qemu",), add_nbd, ("NBD server", "theirs")),
    (("unsafe_qemu",), remove_export, ("exports",))))
def test_refused(tmp, daemon_factory, mount_factory, words, change, said):
    """With one line, and nothing is touched."""
    image = images.create(f"{tmp}/va.img", size=MiB)
    daemon = daemon_factory("web01", [Disk("va", image)],
                            fuse=words != ("freeze=require", "agent=/nobody"))
    if change:
        change(tmp, daemon)
    before = daemon.state()
    refusal.assert_refused(mount_factory(daemon.qmp_path, *words,
                                         check=False), *said)
    assert daemon.state() == before
