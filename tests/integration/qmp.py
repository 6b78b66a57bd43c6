# SPDX-License-Identifier: GPL-2.0-or-later
"""A minimal QMP client.

QEMU serves one monitor client at a time, so a client here is short-lived:
connect, work, close.

    with Qmp(path) as qmp:
        qmp.execute("query-status")
"""

import itertools
import json
import socket
import time

from deadline import DEADLINE, DeadlinePassed

_ids = itertools.count(1)


class QmpError(Exception):
    """QEMU answered a command with an error; str() is QEMU's own words."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('desc')}")
        self.command = command
        self.error_class = error.get("class")
        self.desc = error.get("desc", "")


class QmpClosed(Exception):
    """The monitor closed the connection."""


class Qmp:
    """One negotiated QMP session; a context manager."""

    def __init__(self, path, deadline=DEADLINE):
        self.path = str(path)
        self.deadline = deadline
        self.events = []
        self._buffer = b""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(deadline)
            self._sock.connect(self.path)
            self.greeting = self._greeting(time.monotonic() + deadline)
            if "QMP" not in self.greeting:
                raise QmpClosed(f"no QMP greeting: {self.greeting}")
            self.execute("qmp_capabilities")
        except BaseException:
            self._sock.close()
            raise

    def _greeting(self, end):
        """An event may come first, where another client has just left."""
        while "event" in (message := self._message(end)):
            self.events.append(message)
        return message

    @property
    def version(self):
        """QEMU's, as a tuple of numbers: (7, 2, 22)."""
        said = self.greeting["QMP"]["version"]["qemu"]
        return said["major"], said["minor"], said["micro"]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """End the session; QEMU then serves the next client."""
        self._sock.close()

    def execute(self, command, arguments=None, fds=(), deadline=None):
        """Run command and return its answer; QmpError if QEMU refused.

        fds travel with the command (SCM_RIGHTS), as add-fd and getfd want
        them.
        """
        ident = f"test-{next(_ids)}"
        request = {"execute": command, "id": ident}
        if arguments:
            request["arguments"] = arguments
        self._send(json.dumps(request).encode() + b"\n", fds)
        end = time.monotonic() + (deadline or self.deadline)
        while True:
            answer = self._message(end, waiting_for=command)
            if "event" in answer:
                self.events.append(answer)
            elif answer.get("id") == ident:
                break
        if "error" in answer:
            raise QmpError(command, answer["error"])
        return answer["return"]

    def hmp(self, line):
        """Run a line of the human monitor and return what it printed."""
        return self.execute("human-monitor-command", {"command-line": line})

    def wait_event(self, name, match=None, deadline=None):
        """Return the next event of that name whose data match has it all.

        An event that came earlier in this session and was not taken yet
        counts.
        """
        end = time.monotonic() + (deadline or self.deadline)
        while True:
            for event in self.events:
                if _event_is(event, name, match or {}):
                    self.events.remove(event)
                    return event
            answer = self._message(end, waiting_for=f"event {name}")
            if "event" in answer:
                self.events.append(answer)

    def _send(self, data, fds):
        if fds:
            sent = socket.send_fds(self._sock, [data], list(fds))
            data = data[sent:]
        self._sock.sendall(data)

    def _message(self, end, waiting_for="the greeting"):
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlinePassed(f"QMP {self.path}: no {waiting_for}")
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise QmpClosed(f"{self.path} closed, waiting for "
                                f"{waiting_for}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)


def _event_is(event, name, match):
    data = event.get("data", {})
    return event["event"] == name and all(
        data.get(key) == value for key, value in match.items())
