# SPDX-License-Identifier: GPL-2.0-or-later
"""SOURCE is a libvirt on another machine: all goes over the network, in TLS."""

import os
import subprocess
import sys

import pytest

import fleecectl
import images
import mount
import pki
import scene
from deadline import wait_for
from files import error_of, read_at
from hosts import PORT
from images import MiB
from recipe import Place, readme
from remote import Remote
from test_libvirt import SIZE, drive, read, wait_broken
from test_libvirt_chain import K64, night
from test_sources import write_conf


SILENT = ("ETIMEDOUT", "ENOTCONN")


@pytest.fixture
def hv(tmp, qemu, libvirt_cache):
    """Another machine."""
    with Remote(tmp, 1, libvirt_cache) as host:
        yield host


@pytest.fixture
def web01(tmp, hv):
    """A domain of it with some data on its disk."""
    domain = hv.libvirt.start("web01", [drive(tmp, "vda"), drive(tmp, "vdb")])
    domain.write("vda", 0, K64, 0x11)
    return domain


def assert_refused(mount_factory, source, *words):
    """What it says; nothing is left in it."""
    mnt = mount_factory(source, *words, check=False)
    assert mnt.process.wait(60) in (mount.USAGE, mount.MOUNT_FAILED)
    wait_for(lambda: not mnt.processes(), what="the end of all")
    return mnt.stderr()


def test_nights(tmp, hv, web01, mount_factory):
    """A full night and an increment; the disks are as they were at the instant
    while the guest writes; then all is as it was."""
    before = web01.state()

    def change(mnt):
        web01.write("vda", 0, 2 * K64, 0x33)
        assert read(mnt.join("web01", "vda.raw")) == \
            b"\x11" * K64 + bytes(SIZE - K64)
        assert "<name>web01</name>" in read(mnt.join(
            "web01", "domain.xml")).decode()
        assert mnt.vm_status("web01")["method"] == "libvirt"
        wait_for(lambda: mnt.vm_status("web01")["scratch_bytes"] > K64,
                 what="its scratch to be known")

    words = (*hv.words, f"scratch={tmp}", "freeze=try")
    assert night(mount_factory, hv, *words, change=change) == (
        {"vda": "first", "vdb": "first"},
        {"vda": [(0, SIZE)], "vdb": [(0, SIZE)]})
    web01.write("vdb", 4 * K64, K64, 0x44)
    assert night(mount_factory, hv, *words) == (
        {"vda": None, "vdb": None},
        {"vda": [(0, 2 * K64)], "vdb": [(4 * K64, 5 * K64)]})
    after = web01.state()
    assert len(after["checkpoints"]) == 1
    for key in ("state", "job", "note", "nodes", "exports", "jobs"):
        assert after[key] == before[key], key
    assert not [name for name in os.listdir(tmp) if "fleecefs-" in name]


def test_certificates(tmp, hv, web01, mount_factory):
    """Who is not who it should be is shown nothing."""
    before = web01.state()
    place = Place(tmp, "")
    assert place.run(readme("hv2.example.org"), **{
        "qemu+tls://hv2.example.org/system": f"'{hv.uri}'",
        "/etc/pki/fleecefs": hv.friend}).returncode == 0
    assert read_at(f"{place.mnt}/web01/vda.raw", 0, 8) == b"\x11" * 8
    assert place.run("umount.fleecefs /mnt").returncode == 0
    other = pki.authority(f"{tmp}/other", hv.there)
    for directory, said in (
            (None, "needs tls_certificates"),
            (f"{tmp}/none", f"{tmp}/none/ca-cert.pem"),
            (pki.trust(f"{tmp}/trusts", hv.directory), "client-cert.pem"),
            # there it trusts nobody, and here it is nobody's friend
            (pki.client(f"{tmp}/stranger", other), "certificate"),
            (pki.client(f"{tmp}/spy", other, hv.directory), "TLS")):
        words = [f"tls_certificates={directory}"] if directory else []
        assert said in assert_refused(mount_factory, hv.uri, *words)
    assert web01.state() == before
    assert "is for an NBD server" in assert_refused(
        mount_factory, hv.uri, "tls_psk=/x")


def test_no_certificates_there(tmp, qemu, libvirt_cache, mount_factory):
    """It is never shown without, and what to do is said."""
    with Remote(tmp, 2, libvirt_cache, backups=False) as host:
        domain = host.libvirt.start("web01", [drive(tmp, "vda")])
        said = assert_refused(mount_factory, host.uri, *host.words)
        assert "Unable to access credentials" in said
        assert "backup_tls_x509_cert_dir" in said
        assert domain.job() == "None"


def test_ports_and_scratch(tmp, hv, web01, mount_factory):
    """A port that others have is passed over; there is none left; domains
    that are off stay out; what the scratch takes is watched from afar."""
    hv.libvirt.define("db01", [drive(tmp, "vdc")])
    hv.serve("null", "1M")
    said = assert_refused(mount_factory, hv.uri, *hv.words, f"ports={PORT}")
    assert f"no port from {PORT} to {PORT} was free" in said
    assert "Address already in use" in said
    mnt = mount_factory(hv.uri, *hv.words, f"ports={PORT}-{PORT + 1}",
                        "scratch_limit=1M", name="again")
    assert sorted(os.listdir(mnt.path)) == ["web01"]
    assert "1 domains of libvirts on other machines are shut off" in \
        mnt.stderr()
    assert error_of(os.mkdir, mnt.join("db01")) == "EREMOTE"
    assert "another machine" in mnt.vm_status("db01")["error"]
    # of two in turn, one begins with the one that is taken
    os.rmdir(mnt.join("web01"))
    os.mkdir(mnt.join("web01"))
    assert read_at(mnt.join("web01", "vda.raw"), 0, 8) == b"\x11" * 8
    web01.write("vda", 0, 4 * MiB, 0x22)
    assert "scratch_limit" in wait_broken(mnt)
    wait_for(lambda: web01.job() == "None", what="the job's end")
    assert web01.domstate().startswith("running")
    mnt.umount()


def test_cut(tmp, hv, web01, vm_factory, mount_factory):
    """The cable is out under a reader: EIO, and the rest lives.  What could not
    be undone is, when it is in again; also when the mount has ended."""
    for at in (2 * MiB, 4 * MiB, 6 * MiB):
        web01.write("vda", at, K64, 0x22)    # no hole: it has to be asked
    before = web01.state()
    here = scene.build(tmp, vm_factory, (("va", "raw", images.SIZE),),
                       name="db01")
    site = f"{tmp}/site.conf"
    write_conf(site, {
        "hv": {"libvirt": hv.uri, "tls_certificates": hv.friend},
        "db01": {"qmp": here.vm.qmp_path}})
    mnt = mount_factory(site, "timeout=2", "read_timeout=1", "chain=n")
    vda = mnt.join("web01@hv", "vda.raw")
    assert read_at(vda, 0, 8) == b"\x11" * 8
    hv.cut()
    assert error_of(read_at, vda, 4 * MiB, 8) == "EIO"
    assert error_of(read_at, vda, 6 * MiB, 8) == "EIO"
    assert error_of(os.rmdir, mnt.join("web01@hv")) in SILENT
    here.assert_shown(mnt)
    assert web01.job() == "Unbounded"
    hv.plug_in()
    wait_for(lambda: web01.state() == before, what="it to be undone")
    os.mkdir(mnt.join("web01@hv"))
    hv.cut()
    assert error_of(read_at, vda, 2 * MiB, 8) == "EIO"
    subprocess.run(["umount", mnt.path], check=True)
    assert mnt.process.wait(60) == 0
    here.assert_as_before()
    hv.plug_in()
    mnt.wait_gone()
    assert web01.state() == before


def test_all_killed(tmp, hv, web01, mount_factory):
    """Whoever comes next cleans up: a snapshot, or fleecectl."""
    before = web01.state()
    for number, clean in enumerate((
            lambda: mount_factory(hv.uri, *hv.words, name="next").umount(),
            lambda: fleecectl.run(tmp, "recover", hv.uri))):
        mnt = mount_factory(hv.uri, *hv.words, "chain=n", f"scratch={tmp}",
                            name=f"mnt{number}")
        mnt.kill()
        wait_for(lambda: not mnt.processes(), what="all to be dead")
        assert web01.job() == "Unbounded"
        subprocess.run(["umount", "-l", mnt.path], check=True)
        clean()
        assert web01.state() == before


def test_ssh(tmp, hv, web01, mount_factory):
    """Its program can still be run when the daemon and its guardian have given
    up their rights."""
    before = web01.state()
    ssh = f"{tmp}/ssh"
    with open(ssh, "w", encoding="ascii") as file:
        file.write("#!/bin/sh -e\n"
                   f"for last; do :; done\necho >>{tmp}/run\n"
                   f"exec {sys.executable} {os.path.dirname(__file__)}"
                   f"/bridge.py {hv.libvirt.socket}\n")
    os.chmod(ssh, 0o755)
    uri = f"qemu+ssh://{hv.there}/system?proxy=netcat&command={ssh}"
    mnt = mount_factory(uri, *hv.words, "chain=n")
    assert read_at(mnt.join("web01", "vda.raw"), 0, 8) == b"\x11" * 8
    runs = os.path.getsize(f"{tmp}/run")
    hv.libvirt.stop_daemon()
    hv.libvirt.start_daemon()
    mnt.control("commit web01")
    assert os.path.getsize(f"{tmp}/run") > runs
    mnt.kill(guardian=False)
    wait_for(lambda: web01.job() == "None", what="the guardian")
    wait_for(lambda: not mnt.processes(), what="the guardian's end")
    assert web01.state()["nodes"] == before["nodes"]
