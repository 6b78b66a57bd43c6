# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP peers that are no QEMU, or a mad one: an error in time, never a hang.

They are scripted sockets.  How long a refusal takes is not measured: the
deadline of the start ends a hang.
"""

import json
import os
import socket

import pytest

import refusal
import scene
from deadline import DEADLINE
from peer import GREETING, Peer, requests, send, wait_for_end

QUICK = "timeout=2"


def greet(conn):
    send(conn, GREETING)


def say(data):
    """A script that says these bytes and waits for the client to leave."""
    def script(conn):
        conn.sendall(data)
        wait_for_end(conn)
    return script


def answer(make):
    """A script that greets, accepts, and then answers with make(request)."""
    def script(conn):
        greet(conn)
        for request in requests(conn):
            reply = {"return": {}}
            if request["execute"] != "qmp_capabilities":
                reply = make(request)
            send(conn, {**reply, "id": request["id"]})
    return script


def flood(data):
    """A script that greets and then says the same for ever."""
    def script(conn):
        greet(conn)
        while True:
            conn.sendall(data)
    return script


def endless_line(conn):
    conn.sendall(b'{"QMP": "')
    while True:
        conn.sendall(b"a" * 65536)


def greet_and_close(conn):
    greet(conn)


def negotiate_and_close(conn):
    greet(conn)
    for request in requests(conn):
        send(conn, {"return": {}, "id": request["id"]})
        return


def trickle(conn):
    """A byte a moment, so that something always comes."""
    conn.settimeout(0.1)
    conn.sendall(b'{"QMP": "')
    while True:
        conn.sendall(b"a")
        try:
            if not conn.recv(1):
                return
        except TimeoutError:
            pass


EVENT = json.dumps({"event": "X", "data": {}, "timestamp": {
    "seconds": 1, "microseconds": 1}}).encode() + b"\r\n"
BAD_VERSION = {"QMP": {"version": {"qemu": {"major": "7", "minor": {}},
                                   "package": ""}, "capabilities": []}}
HUGE_VERSION = {"QMP": {"version": {"qemu": {
    "major": 10 ** 30, "minor": -1, "micro": 0}, "package": ""},
    "capabilities": []}}
PEERS = {
    "garbage": (say(b"\x00\xff{]not QMP\x80\n"), "not a QMP monitor"),
    "http": (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not a QMP monitor"),
    "array": (say(b"[1, 2]\r\n"), "not a QMP monitor"),
    "other-object": (say(b'{"return": {}}\r\n'), "not a QMP monitor"),
    "bad-version": (lambda conn: send(conn, BAD_VERSION), "greeting"),
    "huge-version": (lambda conn: send(conn, HUGE_VERSION), "greeting"),
    "closes-at-once": (lambda conn: None, "closed the connection"),
    "cut-off": (lambda conn: conn.sendall(b'{"QMP": {"ver'), "cut off"),
    "closes-after-greeting": (greet_and_close, "closed the connection"),
    "closes-later": (negotiate_and_close, "closed the connection"),
    "never-greets": (wait_for_end, "busy"),
    "never-answers": (say(json.dumps(GREETING).encode() + b"\n"),
                      "qmp_capabilities"),
    "endless-line": (endless_line, "too long"),
    "trickle": (trickle, "web01.qmp"),
    "endless-events": (flood(EVENT), "qmp_capabilities"),
    "deep-array": (say(b'{"QMP": ' + b"[" * 10 ** 6), "nesting"),
    "deep-object": (say(b'{"QMP":' * 10 ** 6), "nesting"),
    "empty-answers": (answer(lambda request: {"return": {}}), "VM web01"),
    "null-answers": (answer(lambda request: {"return": None}), "VM web01"),
    "text-answers": (answer(lambda request: {"return": "x"}), "VM web01"),
    "no-answer-member": (answer(lambda request: {}), "VM web01"),
    "array-answers": (answer(lambda request: {"return": [[], {}, 1, None]}),
                      "VM web01"),
    "errors": (answer(lambda request: {"error": {
        "class": "GenericError", "desc": "no, thanks"}}), "no, thanks"),
    "bad-error": (answer(lambda request: {"error": 5}), "VM web01"),
    "error-with-controls": (answer(lambda request: {"error": {
        "class": "GenericError", "desc": "two\nlines\x1b[2J\u009b"}}),
        "two"),
    "unknown-commands": (answer(lambda request: {"error": {
        "class": "CommandNotFound", "desc": "no such command"}}),
        "no such command"),
}


@pytest.mark.parametrize("kind", PEERS)
def test_peer(tmp, mount_factory, kind):
    script, words = PEERS[kind]
    with Peer(f"{tmp}/web01.qmp", script) as peer:
        mnt = mount_factory(peer.path, QUICK, check=False,
                            deadline=4 * DEADLINE)
        refusal.assert_refused(mnt, "VM web01", words)
        assert peer.clients >= 1


def test_nobody_accepts(tmp, mount_factory):
    """A socket file that nobody listens on any more, as a crash leaves it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp}/web01.qmp")
    mnt = mount_factory(f"{tmp}/web01.qmp", QUICK, check=False)
    refusal.assert_refused(mnt, "VM web01", "web01.qmp", "refused")


def test_full_backlog(tmp, mount_factory):
    """A server that never accepts, and has no room for one more client."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp}/web01.qmp")
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(f"{tmp}/web01.qmp")
            mnt = mount_factory(f"{tmp}/web01.qmp", QUICK, check=False)
            refusal.assert_refused(mnt, "VM web01", "web01.qmp", "timed out")


@pytest.mark.parametrize("strict", (False, True))
@pytest.mark.parametrize("foreground", (False, True))
def test_one_good_vm_and_a_bad_one(tmp, vm_factory, mount_factory, strict,
                                   foreground):
    """The good one is mounted, or with strict nothing is."""
    one = scene.build(tmp, vm_factory)
    os.mkdir(f"{tmp}/vms")
    os.symlink(one.vm.qmp_path, f"{tmp}/vms/web01.qmp")
    with Peer(f"{tmp}/vms/bad.qmp", lambda conn: None):
        mnt = mount_factory(f"{tmp}/vms", QUICK, "strict" * strict,
                            check=not strict, foreground=foreground)
        said = [line for line in mnt.stderr().splitlines()
                if line and "fleecefs: scratch: " not in line]
        assert all("VM bad" in line for line in said), said
        if strict:
            assert mnt.returncode == 32 and not mnt.mounted()
            one.assert_as_before()
            return
        assert len(said) == 1 and "closed the connection" in said[0]
        assert os.listdir(mnt.path) == ["web01"]
        assert mnt.vm_status("bad")["state"] == "failed"
        assert "closed the connection" in mnt.vm_status("bad")["error"]
        assert mnt.vm_status("web01")["state"] == "live"
        one.overwrite_all("va")
        one.assert_shown(mnt)
        mnt.umount()
    one.assert_as_before()


def test_only_bad_vms(tmp, mount_factory):
    """Each is reported; none stands, so neither does the mount."""
    os.mkdir(f"{tmp}/vms")
    with Peer(f"{tmp}/vms/a.qmp", lambda conn: None), \
            Peer(f"{tmp}/vms/b.qmp", lambda conn: None):
        mnt = mount_factory(f"{tmp}/vms", QUICK, check=False)
        assert mnt.returncode == 32 and not mnt.mounted()
        for name in ("VM a:", "VM b:"):
            assert name in mnt.stderr()
