# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP peer that is no QEMU: it says what a script of the test says.

    with Peer(tmp / "web01.qmp", lambda conn: conn.sendall(b"garbage")):

The script is called once for each client, with its connection; what it
returns from closes it.  A client that leaves ends the script's sending.
"""

import contextlib
import json
import os
import socket
import threading

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22},
                                "package": ""}, "capabilities": []}}


class Peer:
    """Listens at path; a context manager."""

    def __init__(self, path, script):
        self.path, self.script = str(path), script
        self.clients = 0
        self._open = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, AttributeError):
            self._open.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()
        os.unlink(self.path)
        assert not self._thread.is_alive(), "the QMP peer does not end"

    def _serve(self):
        while True:
            try:
                self._open, _ = self._listener.accept()
            except OSError:
                return
            self.clients += 1
            with self._open as conn, contextlib.suppress(OSError):
                self.script(conn)


def send(conn, message):
    """One message as QEMU sends it."""
    conn.sendall(json.dumps(message).encode() + b"\r\n")


def wait_for_end(conn):
    """Swallow what the client says until it leaves."""
    while conn.recv(65536):
        pass


def requests(conn):
    """Each request of the client; fleecefs ends each with a newline."""
    with conn.makefile("rb") as lines:
        for line in lines:
            yield json.loads(line)
