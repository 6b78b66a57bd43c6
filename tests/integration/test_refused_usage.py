# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line, the source and the mountpoint may not be."""

import os
import socket
import stat
import subprocess

import pytest

import mount
import refusal
import scene

# option, and a part of the line that says what is accepted
BAD_VALUES = (
    ("remount", "mount it again"),
    ("name=", "not empty"), ("vm=", "not empty"), ("disk=", "not empty"),
    ("scratch=", "not empty"), ("snapshot=", "mount or mkdir"),
    ("snapshot=Mount", "mount or mkdir"), ("method=", "filter"),
    ("method=jobs", "auto, filter, job or access"), ("cbw_timeout=0", "1"),
    ("cbw_timeout=3601", "3600"), ("timeout=", "whole number"),
    ("timeout=0", "whole number"), ("timeout=2s", "whole number"),
    ("timeout=1.5", "whole number"), ("timeout= 2", "whole number"),
    ("read_timeout=-1", "whole number"),
    ("read_timeout=99999999999999999999", "whole number"),
    ("connections=0", "from 1 to 16"), ("connections=17", "from 1 to 16"),
    ("uid=-1", "whole number"), ("uid=4294967295", "whole number"),
    ("gid=root", "whole number"), ("umask=8", "octal"),
    ("umask=1000", "octal"), ("umask=", "octal"),
    ("max_read=", "from 4096"), ("max_read=4095", "from 4096"),
    ("via=libvirt", "backup or monitor"))
UNKNOWN = ("Discard", "discards", "discard=1", "strict=yes", "timeout",
           "sratch=/tmp", "vms=*", "nonempty", "ro=1")


def usage_error(tmp, mount_factory, *words):
    """The line of a command that is wrong whatever its source is."""
    mnt = mount_factory(f"{tmp}/none.qmp", *words, check=False)
    return refusal.assert_refused(mnt, status=mount.USAGE)


@pytest.mark.parametrize("word, accepted", BAD_VALUES)
def test_bad_value(tmp, mount_factory, word, accepted):
    """The line names the option, the value, and what is accepted."""
    said = usage_error(tmp, mount_factory, word)
    assert f"'{word}'" in said and accepted in said


@pytest.mark.parametrize("word", UNKNOWN)
def test_unknown_option(tmp, mount_factory, word):
    said = usage_error(tmp, mount_factory, "discard", word, "strict")
    assert f"'{word}'" in said and "unknown option" in said


def run(*words):
    """The program with these words; the tests' Mount always has two."""
    done = subprocess.run([mount.binary(), *words], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", ((), ("/a",), ("/a", "/b", "/c"), ("-o",),
                                   ("-x", "/a", "/b"), ("--wrong", "/a", "/")))
def test_wrong_words(fleecefs, words):
    status, said, complained = run(*words)
    assert (status, said) == (mount.USAGE, "")
    assert complained.startswith("fleecefs: ") or "fuse" in complained


@pytest.mark.parametrize("word", ("-h", "--help", "-V", "--version"))
def test_help_and_version(fleecefs, word):
    status, said, complained = run(word)
    assert (status, complained) == (0, "")
    assert "fleecefs" in said


@pytest.mark.parametrize("make", (None, "file", "dangling", "loop"))
def test_mountpoint(tmp, vm_factory, mount_factory, make):
    """Usage, and QEMU is not even asked."""
    one = scene.build(tmp, vm_factory)
    path = f"{tmp}/none/mnt" if make is None else f"{tmp}/point"
    if make == "file":
        with open(path, "wb"):
            pass
    elif make:
        os.symlink(path if make == "loop" else f"{tmp}/none", path)
    status, _, said = run("-f", one.vm.qmp_path, path)
    assert status == mount.USAGE
    assert len(said.splitlines()) == 1 and path in said, said
    one.assert_as_before()


CONFS = {
    "text": ("just a text\n", "key-value"),
    "empty": ("", "no VM"),
    "comment": ("# nothing\n", "no VM"),
    "key-before-group": ("qmp=/x\n[web01]\n", "group"),
    "unknown-key": ("[web01]\nqmp=/x\nsnapshots=1\n", "snapshots"),
    "no-qmp": ("[web01]\nmethod=job\n", "needs one of qmp="),
    "empty-qmp": ("[web01]\nqmp=\n", "qmp"),
    "bad-method": ("[web01]\nqmp=/x\nmethod=best\n", "method"),
    "bad-escape": ("[web01]\nqmp=/x\\q\n", "qmp"),
    "not-utf8": ("[web01]\nqmp=/\xff\n", "UTF-8"),
    "missing-socket": ("[web01]\nqmp=/nonexistent.qmp\n",
                       "VM web01"),
}


@pytest.mark.parametrize("source, words", (
    ("mnt", ()), ("mnt/web01.qmp", ()), ("link/web01.qmp", ()),
    ("web01.qmp", ("scratch={}/mnt/scratch",)), ("web01.qmp", (
        "freeze=try", "agent={}/mnt/web01.agent"))))
def test_mountpoint_that_hides(tmp, mount_factory, source, words):
    """Whoever looks for it later would wait for himself."""
    os.makedirs(f"{tmp}/mnt/scratch")
    os.mkfifo(f"{tmp}/mnt/web01.qmp")
    os.symlink("mnt", f"{tmp}/link")
    mnt = mount_factory(f"{tmp}/{source}", *(
        word.format(tmp) for word in words), check=False)
    said = refusal.assert_refused(mnt, status=mount.USAGE)
    assert f"mountpoint {mnt.path} would hide " in said


@pytest.mark.parametrize("kind", CONFS)
def test_conf(tmp, mount_factory, kind):
    """The file is named, or where it is good, the VM."""
    text, word = CONFS[kind]
    path = f"{tmp}/site.conf"
    with open(path, "w", encoding="latin-1") as file:
        file.write(text)
    mnt = mount_factory(path, check=False)
    named = "/nonexistent.qmp" if kind == "missing-socket" else path
    refusal.assert_refused(mnt, named, word)


def test_sources(tmp, mount_factory):
    """What is no source at all: nothing there, an empty directory, a FIFO."""
    os.mkdir(f"{tmp}/empty")
    os.mkdir(f"{tmp}/other")
    with open(f"{tmp}/other/web01.qmp", "wb"):
        pass
    os.mkfifo(f"{tmp}/fifo")
    assert stat.S_ISFIFO(os.stat(f"{tmp}/fifo").st_mode)
    for name, word in (("none", "No such file"), ("empty", "no VM"),
                       ("other", "no VM"), ("fifo", "neither")):
        mnt = mount_factory(f"{tmp}/{name}", name=f"mnt-{name}", check=False)
        refusal.assert_refused(mnt, f"{tmp}/{name}", word)


def test_name_of_several(tmp, mount_factory):
    os.mkdir(f"{tmp}/vms")
    mnt = mount_factory(f"{tmp}/vms", "name=web01", check=False)
    refusal.assert_refused(mnt, "name=", f"{tmp}/vms")


def test_long_socket_path(tmp, mount_factory):
    """A path that no sockaddr_un has room for."""
    path = f"{tmp}/{'d' * 120}"
    os.mkdir(path)
    short = f"{tmp}/s.qmp"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(short)
        os.rename(short, f"{path}/web01.qmp")
        mnt = mount_factory(f"{path}/web01.qmp", check=False)
    refusal.assert_refused(mnt, "VM web01", "at most 107 bytes")
