# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs that are switched off: image= of a .conf."""

import json
import os
import signal
import subprocess

import pytest

import images
import ours
from deadline import wait_for
from disk import Disk
from files import error_of
from mount import MOUNT_FAILED
from nbdserver import nbdkit

FORMATS = ("raw", "qcow2")


def conf(tmp, *lines, name="off"):
    """A .conf of one VM; its path."""
    path = f"{tmp}/site.conf"
    with open(path, "a", encoding="ascii") as file:
        print(f"[{name}]", *lines, sep="\n", file=file)
    return path


def image(tmp, fmt, name="va", size=3 * images.MiB + 512):
    return images.make(fmt, f"{tmp}/{name}.{fmt}", size, seed=len(name))


def servers(mnt):
    """The pids of the mount's qemu-storage-daemons."""
    return [pid for starter in children(mnt.pid) for pid in children(starter)
            if "qemu-storage-daemon" in ours.command_line(pid)]


def children(pid):
    """The pids of a process's children."""
    return [int(child) for child in subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], stdout=subprocess.PIPE,
        text=True, check=False).stdout.split()]


def content(path, fmt):
    with open(images.to_raw(path, fmt, path + ".content"), "rb") as file:
        return file.read()


def shown(mnt, name="va", vm="off"):
    with open(mnt.join(vm, f"{name}.raw"), "rb") as file:
        return file.read()


def test_shown(tmp, mount_factory):
    """Both formats in one VM; a backing chain; holes."""
    raw, base = image(tmp, "raw"), image(tmp, "qcow2", "base")
    top = f"{tmp}/vb.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base,
                    "-F", "qcow2", top], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 64k 70k",
                    "-c", "write -z 1M 1M", top], check=True,
                   stdout=subprocess.DEVNULL)
    mnt = mount_factory(conf(tmp, f"image={raw};{top}"))
    assert shown(mnt) == content(raw, "raw")
    assert shown(mnt, "vb") == content(top, "qcow2")
    with open(mnt.join("off", "vm.json"), encoding="ascii") as file:
        said = json.load(file)
    assert said["method"] == "image"
    assert [disk["reason"] for disk in said["disks"]] == ["no-bitmap"] * 2
    assert len(servers(mnt)) == 1
    mnt.umount()


def test_bitmap(tmp, vm_factory, mount_factory):
    """What a chain recorded while the VM ran is in .dirty."""
    path = image(tmp, "qcow2")
    vm = vm_factory("web01", [Disk("va", path, "qcow2")])
    words = ("chain=nightly",)
    mnt = mount_factory(vm.qmp_path, *words, name="running")
    mnt.control("commit web01")
    mnt.umount()
    vm.write("va", 128 * 1024, 1000, 0x31)
    vm.quit()
    mnt = mount_factory(conf(tmp, f"image={path}",
                             "bitmap=fleecefs.nightly.*"))
    with open(mnt.join("off", "va.dirty.json"), encoding="ascii") as file:
        dirty = [one for one in json.load(file) if one["dirty"]]
    assert dirty[0]["offset"] == 128 * 1024
    assert sum(one["length"] for one in dirty) == 64 * 1024
    assert shown(mnt)[128 * 1024:128 * 1024 + 1000] == b"\x31" * 1000
    mnt.umount()
    vm.start()      # and the bitmap is as it was
    again = mount_factory(vm.qmp_path, *words, name="again")
    assert again.disk_status("web01", "va")["mode"] == "incremental"
    again.umount()


@pytest.mark.parametrize("fmt", FORMATS)
def test_locked(tmp, mount_factory, fmt):
    """No QEMU writes while the snapshot stands; before and after it may."""
    path = image(tmp, fmt)

    def write():
        return subprocess.run(
            ["qemu-io", "-f", fmt, "-c", "write -P 1 0 4k", path],
            capture_output=True, text=True, check=False)

    mnt = mount_factory(conf(tmp, f"image={path}"), "snapshot=mkdir")
    assert write().returncode == 0
    assert servers(mnt) == []
    os.mkdir(mnt.join("off"))
    before = shown(mnt)
    refused = write()
    assert refused.returncode and '"write" lock' in refused.stderr
    assert shown(mnt) == before
    os.rmdir(mnt.join("off"))
    assert servers(mnt) == []
    assert write().returncode == 0
    mnt.umount()


@pytest.mark.parametrize("fmt", FORMATS)
def test_vm_runs(tmp, vm_factory, mount_factory, fmt):
    """Refused, and the guest writes on."""
    path = image(tmp, fmt)
    vm = vm_factory("web01", [Disk("va", path, fmt)])
    mnt = mount_factory(conf(tmp, f"image={path}"), check=False)
    assert mnt.returncode == MOUNT_FAILED
    assert f"VM off: disk va: {path}: it is open for writing" in mnt.stderr()
    vm.write("va", 0, 4096, 5)
    vm.quit()
    mnt = mount_factory(conf(tmp, f"image={path}", name="two"), name="later")
    assert shown(mnt, vm="two")[:4096] == b"\x05" * 4096
    mnt.umount()


def test_server_ends_with_the_daemon(tmp, mount_factory):
    """However that ends; and where the server dies, reads fail at once, and
    the next snapshot has another."""
    path = image(tmp, "raw")
    mnt = mount_factory(conf(tmp, f"image={path}"))
    pid, = servers(mnt)
    os.kill(mnt.pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="its end")
    wait_for(lambda: not mnt.mounted(), what="the guardian's work")
    mnt = mount_factory(f"{tmp}/site.conf", "snapshot=mkdir", name="second")
    os.mkdir(mnt.join("off"))
    pid, = servers(mnt)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: error_of(shown, mnt) == "EIO", what="an error")
    os.rmdir(mnt.join("off"))
    os.mkdir(mnt.join("off"))
    assert shown(mnt) == content(path, "raw")
    starter, = (pid for pid in children(mnt.pid) if children(pid))
    os.kill(starter, signal.SIGKILL)
    wait_for(lambda: mnt.vm_status("off")["state"] == "gone", what="its end")
    os.rmdir(mnt.join("off"))
    assert error_of(os.mkdir, mnt.join("off")) == "ENOENT"
    assert "qemu-storage-daemon" in mnt.vm_status("off")["error"]
    mnt.umount()


@pytest.mark.parametrize("lines, words", (
    (["image={tmp}/a.qcow2"], "its name says qcow2, and it looks like raw: "
                              "say format=raw, or format=qcow2"),
    (["image={tmp}/b.img"], "its name says raw, and it looks like qcow2"),
    (["image={tmp}/none.raw"], "No such file"),
    (["image={tmp}/a.qcow2", "format=qcow2"], "Image is not in qcow2 format"),
    (["image={tmp}/a.qcow2", "format=no such"], "bad setting 'format="),
    (["image={tmp}/a.raw;{tmp}/x/a.raw"], "two images are called 'a'"),
    (["image=;"], "an empty path"),
    (["image={tmp}/c.raw", "qmp=/run/x.qmp"], "needs one of qmp="),
    (["image={tmp}/c.raw", "chain=a"], "nothing is written into them"),
    (["image={tmp}/c.raw", "freeze=try"], "no QEMU has them open"),
    (["image={tmp}/c.raw", "tls=require"], "is for an NBD server"),
    (["image={tmp}/c.raw", "bitmap=none"], "no disk has a bitmap 'none'")))
def test_refused(tmp, mount_factory, lines, words):
    images.make("raw", f"{tmp}/a.qcow2", images.MiB, seed=1)
    images.make("qcow2", f"{tmp}/b.img", images.MiB, seed=1)
    images.make("raw", f"{tmp}/c.raw", images.MiB, seed=1)
    mnt = mount_factory(conf(tmp, *(one.format(tmp=tmp) for one in lines)),
                        check=False)
    assert mnt.returncode == MOUNT_FAILED, mnt.report()
    assert words in mnt.stderr(), mnt.report()
    wait_for(lambda: not mnt.processes(), what="the end of all")


def test_format(tmp, mount_factory):
    """format= decides, whatever the name."""
    path = images.make("qcow2", f"{tmp}/b.img", images.MiB, seed=1)
    mnt = mount_factory(conf(tmp, f"image={path}", "format=qcow2"))
    assert shown(mnt, "b") == content(path, "qcow2")
    mnt.umount()


def test_no_server(tmp, mount_factory):
    """Where the program is missing the other VMs stand all the same."""
    path = image(tmp, "raw")
    site = conf(tmp, f"image={path}")
    with nbdkit(tmp, "memory", "1M") as server:
        conf(tmp, f"nbd={server.uri()}", name="served")
        os.mkdir(f"{tmp}/bin")
        mnt = mount_factory(site, env={"PATH": f"{tmp}/bin"})
        assert os.listdir(mnt.path) == ["served"]
        assert "qemu-storage-daemon" in mnt.vm_status("off")["error"]
        assert "qemu-system-common" in mnt.stderr()
        mnt.umount()
