# SPDX-License-Identifier: GPL-2.0-or-later
"""freeze= through libvirt, with the real agent in a Linux that writes.

Where FLEECEFS_TESTS_FULL is set, the guardian is killed with the daemon, too.
"""

import os
import re
import subprocess

import pytest

import fleecectl
import guest_copy
from deadline import wait_for
from files import error_of
from libvirtd import Domain, Drive
from linux_guest import Console, build, command_line, make_filesystem
from test_freeze_linux import copy
from test_libvirt import drive
from test_libvirt_chain import CHAIN
from test_via_monitor import VIA, renote

FULL = bool(os.environ.get("FLEECEFS_TESTS_FULL"))
AGENT = ("<channel type='unix'>"
         "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>")


@pytest.fixture
def linux(tmp, libvirt, need_tool):
    """A domain, and its console."""
    for tool in ("mkfs.ext4", "e2fsck", "dumpe2fs", "debugfs", "apt-get"):
        need_tool(tool)
    made = build()
    image = f"{tmp}/va.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", make_filesystem(
        "ext4", "va", f"{tmp}/va.img"), image], check=True)
    path = f"{tmp}/web01.console"
    domain = libvirt.start(
        "web01", [Drive("vda", image)], memory=256,
        boot=f"<kernel>{made}/vmlinuz</kernel><initrd>{made}/initramfs"
             f"</initrd><cmdline>{command_line({'va': 'ext4'})}</cmdline>",
        devices=f"{AGENT}<serial type='file'><source path='{path}'/>"
                "</serial>")
    console = Console(path, lambda: os.kill(domain.pid, 0))
    console.wait_ready()
    wait_for(lambda: "state='connected'" in domain.virsh("dumpxml"),
             what="libvirt to see the agent")
    return domain, console


def assert_leaves_frozen(libvirt, domain, console, mount_factory):
    """What another has frozen is never thawed by us: it is an error, or with
    try a warning."""
    domain.virsh("domfsfreeze")
    for via in (VIA, "via=backup"):
        mnt = mount_factory(libvirt.uri, "freeze=require", "snapshot=mkdir",
                            via, name=f"require-{via}")
        assert error_of(os.mkdir, mnt.join("web01")) != "none"
        assert "not frozen" in mnt.vm_status("web01")["error"]
        mnt.umount()
        mnt = mount_factory(libvirt.uri, "freeze=try", via, name=f"try-{via}")
        assert any("not frozen" in text for text in mnt.warnings("web01"))
        mnt.umount()
    assert "frozen" in domain.virsh("qemu-agent-command",
                                    '{"execute":"guest-fsfreeze-status"}')
    domain.virsh("domfsthaw")
    console.wait_count(2)


def agent_timeout(libvirt):
    """How many seconds libvirt gives the agent; below 0: any number."""
    with open(f"{libvirt.directory}/run/libvirt/qemu/web01.xml",
              encoding="utf-8") as file:
        return re.search("<agentTimeout>(.*)</agentTimeout>",
                         file.read())[1]


def kill_while_frozen(tmp, libvirt, domain, console, mount_factory, both):
    """The guest writes on: by the guardian, or by whoever comes next."""
    before = domain.state()
    mnt = mount_factory(libvirt.uri, "snapshot=mkdir", "freeze=require",
                        name=f"killed{both}")
    maker = subprocess.Popen(["mkdir", mnt.join("web01")],
                             stderr=subprocess.DEVNULL)
    wait_for(domain.note, what="the freeze to be announced")
    mnt.kill(guardian=both)
    maker.wait(60)
    if both:
        subprocess.run(["umount", "-l", mnt.path], check=False)
        done = fleecectl.run(tmp, "recover", libvirt.uri)
        assert done.returncode == 0, done.stderr
    console.wait_count(2)
    wait_for(lambda: domain.state() == before, what="all to be undone")
    again = mount_factory(libvirt.uri, "freeze=require", name=f"again{both}")
    assert again.vm_status("web01")["frozen"] == 1
    again.umount()
    console.wait_count(2)
    assert domain.state() == before


def recover_frozen(tmp, libvirt, domain, console, mount_factory):
    """With via=monitor the note in QEMU says that it is to be thawed."""
    mnt = mount_factory(libvirt.uri, VIA, name="frozen")
    mnt.kill()
    subprocess.run(["umount", "-l", mnt.path], check=True)
    renote(domain, "frozen;agent=/libvirt")
    domain.virsh("domfsfreeze")
    done = fleecectl.run(tmp, "recover", libvirt.uri, "--via=monitor")
    assert done.returncode == 0, done.stderr
    console.wait_count(2)


def test_frozen_and_killed(tmp, libvirt, linux, mount_factory):
    """Clean as it is, full and incremental; one that is not frozen is not.
    Then with deaths."""
    domain, console = linux
    before = domain.state()
    timeout = agent_timeout(libvirt)
    for words in ((), (CHAIN,), (CHAIN,), (CHAIN, VIA)):
        mnt = mount_factory(libvirt.uri, "freeze=require", *words)
        status = mnt.vm_status("web01")
        assert status["frozen"] == 1 and not mnt.warnings("web01"), status
        assert 0 < status["freeze_ms"] < 8000
        console.wait_count(2)
        path = copy(mnt, tmp, "frozen", disk="vda")
        if words:
            mnt.control("commit web01")
        mnt.umount()
        assert agent_timeout(libvirt) == timeout
        assert not guest_copy.needs_recovery(path)
        guest_copy.checked_ext4(path)
        console.wait_count(2)

    def dirty():
        mnt = mount_factory(libvirt.uri)
        path = copy(mnt, tmp, "plain", disk="vda")
        mnt.umount()
        return guest_copy.needs_recovery(path)

    wait_for(dirty, what="a snapshot that is not frozen to need recovery")
    for via in (VIA, "via=backup"):
        fleecectl.good(tmp, "checkpoints", libvirt.uri, "--delete", "nightly",
                       f"--{via}")
    assert_leaves_frozen(libvirt, domain, console, mount_factory)
    recover_frozen(tmp, libvirt, domain, console, mount_factory)
    for both in (False, True)[:1 + FULL]:
        kill_while_frozen(tmp, libvirt, domain, console, mount_factory, both)
        assert agent_timeout(libvirt) == timeout
    assert domain.state() == before


def test_no_agent(tmp, libvirt, mount_factory):
    """An error, or with try a warning."""
    libvirt.start("web01", [drive(tmp, "vda")])
    mnt = mount_factory(libvirt.uri, "freeze=require", "snapshot=mkdir")
    assert error_of(os.mkdir, mnt.join("web01")) == "EOPNOTSUPP"
    assert "no guest agent is connected" in mnt.vm_status("web01")["error"]
    mnt.umount()
    mnt = mount_factory(libvirt.uri, "freeze=try", name="try")
    assert any("no guest agent" in text for text in mnt.warnings("web01"))
    mnt.umount()
    assert Domain(libvirt, "web01").job() == "None"
