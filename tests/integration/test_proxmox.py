# SPDX-License-Identifier: GPL-2.0-or-later
"""method=access: the snapshot is made by Proxmox VE's QEMU.

There is none here: proxmox.py says what it would say, and does with a real
QEMU what it would do.
"""

import contextlib
import os
import subprocess

import pytest

import fleecectl
import guest
import images
import mount
import scene
from deadline import wait_for
from files import error_of, punch
from nights import Nights
from proxmox import ProxmoxProxy
from qmp import QmpError
from qmpproxy import Fault
from refusal import assert_refused

MiB = images.MiB
ONE = (("va", "qcow2", 4 * MiB),)
TWO = ONE + (("vb", "raw", 4 * MiB),)
# how Proxmox VE 9 attaches a disk, how it does for an old machine, and plainly
LAYOUTS = {"throttle": {"throttle": True}, "drive": {"style": "drive"},
           "node": {}}
SET_UP, TEARDOWN = "backup-access-setup", "backup-access-teardown"


class Host:
    """A VM as Proxmox VE has it, and mounts of it."""

    def __init__(self, tmp, scene_, mount_factory):
        self.tmp, self.scene, self.vm = tmp, scene_, scene_.vm
        self.factory = mount_factory
        self.words = ("name=web01", "method=access")
        self.mounts = []
        self.proxy = ProxmoxProxy(f"{tmp}/proxy.qmp", self.vm.qmp_path)
        self._monitor = contextlib.ExitStack()
        self._monitor.enter_context(self.proxy)

    def mount(self, *words, **more):
        mnt = self.factory(self.proxy.path, *self.words, *words, **more)
        self.mounts.append(mnt)
        return mnt

    def end(self):
        """The VM's end, and its monitor's."""
        self.vm.kill()
        self._monitor.close()

    def close(self):
        for mnt in self.mounts:
            mnt.cleanup()
        self._monitor.close()

    def refused(self, *words, said=()):
        """It is refused in one line, and nothing has changed."""
        mnt = self.mount(*words, check=False, name="refused")
        wait_for(lambda: mnt.returncode is not None, what="the refusal")
        assert_refused(mnt, "VM web01", *said)
        wait_for(lambda: not mnt.processes(), what="the end of all")
        self.scene.assert_as_before()


@pytest.fixture
def host(tmp, vm_factory, mount_factory):
    """host(disks, **options of scene.build); its monitor is there until all
    mounts have ended."""
    with contextlib.ExitStack() as stack:
        def build(disks=ONE, made=None, **options):
            one = made or scene.build(tmp, vm_factory, disks, **options)
            new = Host(tmp, one, mount_factory)
            stack.callback(new.close)
            return new

        yield build


@pytest.mark.parametrize("layout", LAYOUTS)
def test_snapshot(host, layout):
    """The old bytes while the guest overwrites all, until they are punched."""
    one = host(disk_options=LAYOUTS[layout])
    mnt = one.mount("discard")
    state = mnt.vm_status("web01")
    assert (state["method"], state["cbw_timeout"]) == ("access", 45)
    assert state["pause_ms"] == 0
    # a read of what was cut off would abort QEMU
    root = one.vm.block_entry("va")["inserted"]["node-name"]
    for node in {root, "va-fmt"}:
        with pytest.raises(QmpError):
            one.vm.execute("block_resize", {"node-name": node,
                                            "size": 2 * MiB})
    one.scene.overwrite_all("va")
    one.scene.assert_shown(mnt)
    used = mnt.disk_status("web01", "va")["scratch_bytes"]
    assert used >= 4 * MiB
    with open(one.scene.file(mnt, "va"), "r+b", buffering=0) as file:
        punch(file.fileno(), 0, 4 * MiB)
    wait_for(lambda: mnt.disk_status("web01", "va")["scratch_bytes"] < used,
             what="freed scratch")
    mnt.umount()
    assert one.proxy.log.count(SET_UP) == one.proxy.log.count(TEARDOWN) == 1
    assert one.proxy.active is None
    one.scene.assert_as_before()


@pytest.mark.parametrize("layout", ("throttle", "drive"))
def test_chain(host, layout):
    """Full, and then what has changed."""
    one = host(disk_options=LAYOUTS[layout])
    nights = Nights(one.tmp, one.scene, one.factory, *one.words,
                    qmp=one.proxy.path)
    assert nights.backup()[0] == {"va": "first"}
    one.vm.write("va", 3 * MiB + 512, 512, 0x11)
    facts = nights.snapshot()
    one.vm.write("va", MiB, 512, 0x12)
    assert nights.modes() == {"va": None}
    assert nights.dirty("va") == [(3 * MiB, 65536)]
    assert [disk["limited"] for disk in facts["disks"]] == [False]
    assert nights.update() == 0
    nights.assert_copied()
    nights.commit()
    nights.release()
    nights.snapshot()
    assert nights.dirty("va") == [(MiB, 65536)]
    nights.release()
    nights.mnt.umount()
    assert one.proxy.active is None


# --- others ---

@pytest.mark.parametrize("target", ("Proxmox", "snapshot-access:store"))
def test_another_backup_is_running(host, target):
    """It is left alone, and not even asked to end."""
    one = host()
    one.proxy.another_backup(target)
    one.refused(said=("wait until that has ended", f"target '{target}'"))
    assert SET_UP in one.proxy.log and TEARDOWN not in one.proxy.log
    assert one.proxy.active is not None and one.proxy.target_id == target


def test_image_of_another_backup(host):
    """A node of the name that we would need is not taken for ours."""
    one = host()
    one.vm.execute("blockdev-add", {
        "driver": "null-co", "node-name": "va-fmt-fleecing",
        "size": 4 * MiB})
    one.scene.before = one.vm.state()
    one.refused(said=("va-fmt-fleecing", "a backup of Proxmox VE"))
    assert SET_UP not in one.proxy.log


def test_other_qemus(host):
    """They have no such command."""
    one = host()
    one.proxy.rewrite = lambda request, message: (
        {"id": message["id"], "error": {"class": "CommandNotFound",
                                        "desc": "no such command"}}
        if request and request["execute"] == "query-proxmox-support"
        else message)
    one.refused(said=("method=filter", "backup-access-setup"))


def test_set_up_fails(host):
    one = host()
    one.proxy.fail_at = "va-fmt"
    one.refused(said=("setting up snapshot access failed",))


# --- several disks ---

def test_several_disks(host):
    """Refused, unless it is asked for; a choice of one is none of them."""
    two = host(TWO)
    two.refused(said=("disk=", "method=filter", "unsafe_qemu"))
    assert SET_UP not in two.proxy.log
    mnt = two.mount("disk=vb")
    assert two.scene.file(mnt, "vb") and not os.path.exists(
        two.scene.file(mnt, "va"))
    mnt.umount()
    two.scene.assert_as_before()


def test_several_disks_at_one_instant(host, tmp, vm_factory):
    """The guest stands still while one after the other is set up."""
    ring = guest.Ring(slots=128, drives=2)
    two = host(made=scene.build_living(tmp, vm_factory, ring))
    mnt = two.mount("unsafe_qemu")
    assert two.vm.run_state() == "running"
    assert mnt.vm_status("web01")["pause_ms"] > 0
    newest = [ring.newest(ring.read(two.scene.file(mnt, disk)))
              for disk in two.vm.disks]
    guest.same_instant(newest)
    assert two.proxy.log.count("stop") == two.proxy.log.count("cont") == 1
    mnt.umount()
    two.scene.assert_as_before()


def test_the_second_of_several_fails(host):
    """What QEMU has forgotten stays until the VM ends, and harms no guest."""
    two = host(TWO)
    two.proxy.fail_at = "vb-fmt"
    mnt = two.mount("unsafe_qemu", check=False)
    wait_for(lambda: mnt.returncode is not None, what="the refusal")
    assert mnt.returncode == mount.MOUNT_FAILED
    for words in ("stay until the VM ends", "va-fmt-fleecing is in use",
                  "vb-fmt - setting up snapshot access failed"):
        assert words in mnt.stderr(), mnt.report()
    for disk in two.vm.disks:
        two.scene.overwrite_all(disk)
    assert two.vm.run_state() == "running"
    two.end()
    wait_for(lambda: not mnt.processes(), what="the guardian's end")


# --- what goes wrong ---

def kill_all(mnt):
    mnt.kill()
    wait_for(lambda: not mnt.processes(), what="the end of all")
    subprocess.run(["umount", "-l", mnt.path], check=True)


def test_killed(host):
    """The guardian tears it down, and without it fleecectl recover."""
    one = host(disk_options=LAYOUTS["throttle"])
    mnt = one.mount("chain=nightly")
    mnt.kill(guardian=False)
    wait_for(lambda: not mnt.processes(), what="the guardian's end")
    one.scene.assert_as_before()
    assert one.proxy.active is None
    mnt = one.mount("chain=nightly", name="again")
    kill_all(mnt)
    assert one.proxy.active
    said = fleecectl.run(one.tmp, "recover", one.proxy.path)
    assert said.returncode == 0 and "dead fleecefs" in said.stderr, said
    one.scene.assert_as_before()
    assert one.proxy.active is None


def test_recover_leaves_the_access_of_others(host):
    """Ours ended, the scratch stayed, and now there is another's."""
    one = host()
    mnt = one.mount()
    one.proxy.arm(Fault("fail", "blockdev-del", times=1000))
    kill_all(mnt)
    assert fleecectl.run(one.tmp, "recover", one.proxy.path).returncode == 1
    assert one.proxy.active is None
    one.proxy.disarm()
    one.proxy.another_backup()
    said = fleecectl.run(one.tmp, "recover", one.proxy.path)
    assert said.returncode == 0, said
    assert one.proxy.active is not None
    one.scene.assert_as_before()


def test_teardown_is_refused(host):
    """It is said, and made up for before the next one."""
    one = host()
    mnt = one.mount("snapshot=mkdir")
    os.mkdir(mnt.join("web01"))
    one.proxy.arm(Fault("fail", TEARDOWN, times=1000))
    assert error_of(os.rmdir, mnt.join("web01")) == "EIO"
    assert f"{TEARDOWN}: injected" in mnt.vm_status("web01")["error"]
    assert one.proxy.active
    one.vm.write("va", 0, MiB, 0x31)
    one.proxy.disarm()
    os.mkdir(mnt.join("web01"))
    with open(one.scene.file(mnt, "va"), "rb") as file:
        assert file.read(MiB) == b"\x31" * MiB
    mnt.umount()
    one.scene.assert_as_before()
    assert one.proxy.active is None
