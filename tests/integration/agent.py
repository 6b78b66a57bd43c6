# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest agent that is none: it answers as a test says.

    with Agent(tmp / "web01.agent", vm.run_state) as agent:
        agent.trouble["guest-fsfreeze-freeze"] = Agent.silent

It serves one client at a time, as QEMU's channel does, and logs each command
with what look() says at that time; None where it can say nothing.  It keeps
account of whether its guest is frozen.
"""

import contextlib
import json
import os
import socket
import threading

FREEZE = "guest-fsfreeze-freeze"
THAW = "guest-fsfreeze-thaw"
STATUS = "guest-fsfreeze-status"
SYNC = "guest-sync-delimited"


class _HangUp(Exception):
    """This client is not served any more."""


class Agent:
    """Listens at path; a context manager.

    trouble maps a command to a function(agent, conn, request) in place of
    the good answer; what that raises or returns ends nothing but the
    command.  A command in `once` loses its trouble when it struck.
    """

    def __init__(self, path, look=None, count=2):
        self.path, self.look, self.count = str(path), look, count
        self.log = []           # (command, what look() said)
        self.frozen = False
        self.trouble = {}
        self.once = set()
        self.released = threading.Event()
        self._open = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, AttributeError):
            self._open.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()
        os.unlink(self.path)
        assert not self._thread.is_alive(), "the agent does not end"

    def commands(self):
        """The names of what was asked, without the synchronising."""
        return [name for name, _ in self.log if name != SYNC]

    def seen(self, command):
        """What look() said when the command came last."""
        return [said for name, said in self.log if name == command][-1]

    def _serve(self):
        while True:
            try:
                self._open, _ = self._listener.accept()
            except OSError:
                return
            with self._open as conn, contextlib.suppress(OSError, _HangUp):
                self._talk(conn)

    def _talk(self, conn):
        with conn.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line.lstrip(b"\xff"))
                assert line.startswith(b"\xff") == (
                    request["execute"] == SYNC), line
                self._handle(conn, request)

    def _handle(self, conn, request):
        command = request["execute"]
        self.log.append((command, self._look(command)))
        handler = self.trouble.get(command)
        if command in self.once:
            self.once.discard(command)
            del self.trouble[command]
        if handler:
            handler(self, conn, request)
        else:
            self.answer(conn, request)

    def _look(self, command):
        if command == SYNC or not self.look:
            return None
        try:
            return self.look()
        except (OSError, AssertionError):
            return None

    def answer(self, conn, request):
        """The good answer, and what it stands for."""
        command = request["execute"]
        if command == SYNC:
            conn.sendall(b"\xff")
            value = request["arguments"]["id"]
        elif command == STATUS:
            value = "frozen" if self.frozen else "thawed"
        else:
            value = self.count if command == FREEZE or self.frozen else 0
            self.frozen = command == FREEZE
        conn.sendall(json.dumps({"return": value}).encode() + b"\n")

    # --- troubles ---

    def silent(self, _conn, _request):
        """Nothing is done and nothing said."""

    def mute(self, _conn, request):
        """It is done, but not said."""
        self.frozen = request["execute"] == FREEZE

    def refuse(self, conn, _request):
        conn.sendall(json.dumps({"error": {
            "class": "GenericError",
            "desc": "injected by the test"}}).encode() + b"\n")

    def garbage(self, conn, request):
        self.mute(conn, request)
        conn.sendall(b"{]not JSON\n")

    def hang_up(self, conn, request):
        """It is done, and the connection ends."""
        self.mute(conn, request)
        conn.shutdown(socket.SHUT_RDWR)
        raise _HangUp

    def hold(self, conn, request):
        """Done and said when the test releases it."""
        self.released.wait()
        self.answer(conn, request)
