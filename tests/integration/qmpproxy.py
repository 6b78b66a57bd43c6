# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP proxy that lets a test break the conversation at any point.

    with QmpProxy(tmp / "web01.qmp", vm.qmp_path) as proxy:
        proxy.arm(Fault("fail", at=7))

It stands between one client at a time and QEMU, forwards everything with its
file descriptors, and logs the name of each command.  Without a fault it
changes nothing, so a first run's log tells how many commands there are to
fail in the next ones.  With rewrite=f it is a QEMU that says other things:
f(request, message) returns the message to pass on, or bytes, which are passed
on as they are; request is None for the greeting and for events.
"""

import json
import os
import select
import socket
import threading
from dataclasses import dataclass
from typing import Union

KINDS = ("fail",         # answer GenericError, QEMU never sees the command
         "close",        # close the connection, QEMU never sees the command
         "close-after",  # QEMU runs it, the client sees a closed connection
         "swallow",      # QEMU runs it, the client never sees the answer
         "garbage",      # answer with bytes that are no JSON, then close
         "hold")         # neither forward it nor answer until disarm()
_GARBAGE = b"\x00\xff{]not QMP\x80\n"


@dataclass(frozen=True)
class Fault:
    """One kind of trouble.

    at is the number of a command, counted from 1 at arm(), or a command's
    name; qmp_capabilities is not counted.  A name strikes `times` times.
    """
    kind: str
    at: Union[int, str]
    times: int = 1

    def __post_init__(self):
        assert self.kind in KINDS, self.kind


class QmpProxy:
    """Listens at path and forwards to the QEMU monitor at target."""

    def __init__(self, path, target, rewrite=None):
        self.path, self.target = str(path), str(target)
        self.rewrite = rewrite
        self.log = []           # command names since arm(), in order
        self.struck = 0         # how often the fault was applied
        self.hook = None        # called as hook(number, name) before each
        self._fault = None
        self._released = threading.Event()
        self._stopping = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stopping.set()
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()
        os.unlink(self.path)
        assert not self._thread.is_alive(), "the QMP proxy does not end"

    def arm(self, fault=None):
        """Count from here on, and apply fault when its command comes."""
        self._released.clear()
        self.log, self.struck, self._fault = [], 0, fault

    def disarm(self):
        """Only forward, and let a held command go."""
        self._fault = None
        self._released.set()

    def fault_for(self, name):
        """Log the command and return the kind of fault that it meets."""
        if name == "qmp_capabilities":
            return None
        self.log.append(name)
        if self.hook:
            self.hook(len(self.log), name)
        fault = self._fault
        if not fault or self.struck >= fault.times:
            return None
        if fault.at not in (len(self.log), name):
            return None
        self.struck += 1
        return fault.kind

    def _serve(self):
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as server:
                try:
                    server.connect(self.target)
                    self.session(client, server).run()
                except (OSError, _End):
                    pass

    def session(self, client, server):
        """What serves one client; others have more to say."""
        return Session(self, client, server)

    def stopping(self):
        return self._stopping.is_set()

    def wait_release(self):
        self._released.wait()


def _name_of(request):
    """The command's name; what qom-set sets belongs to it."""
    name = request.get("execute") or request.get("exec-oob")
    if name == "qom-set":
        name += f" {request['arguments']['property']}"
    return name


class _End(Exception):
    """This client's session is over."""


class Session:
    """One client's connection and the one to QEMU that belongs to it."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.requests, self.answers = b"", b""
        self.fds = []
        self.swallow, self.close_on = set(), set()
        self.asked = {}         # id -> request, until it is answered

    def run(self):
        try:
            while not self.proxy.stopping():
                ready, _, _ = select.select(
                    [self.client, self.server], [], [], 0.1)
                if self.server in ready:
                    self._from_qemu()
                if self.client in ready:
                    self._from_client()
        finally:
            self._drop_fds()

    def _drop_fds(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def _from_client(self):
        data, fds, _, _ = socket.recv_fds(self.client, 65536, 16)
        self.fds += fds
        if not data:
            raise _End
        self.requests += data
        for request in self._complete_requests():
            self._request(request)

    def _complete_requests(self):
        """The JSON values in the buffer that are complete, newline or not."""
        decoder = json.JSONDecoder()
        while text := self.requests.decode(errors="replace").lstrip():
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                return
            self.requests = text[end:].encode()
            yield value

    def _request(self, request):
        name = _name_of(request)
        kind = self.proxy.fault_for(name)
        if kind == "hold":
            self.proxy.wait_release()
        elif kind in ("fail", "close", "garbage"):
            self._refuse(kind, request)
            return
        elif kind == "swallow":
            self.swallow.add(request.get("id"))
        elif kind == "close-after":
            self.close_on.add(request.get("id"))
        self.asked[request.get("id")] = request
        self.forward(request)

    def _refuse(self, kind, request):
        self._drop_fds()
        if kind == "fail":
            self._answer({"id": request.get("id"), "error": {
                "class": "GenericError", "desc": "injected by the test"}})
            return
        if kind == "garbage":
            self.client.sendall(_GARBAGE)
        raise _End

    def forward(self, request):
        """Hand it to QEMU, with its descriptors."""
        data = json.dumps(request).encode() + b"\n"
        if self.fds:
            sent = socket.send_fds(self.server, [data], self.fds)
            data = data[sent:]
            self._drop_fds()
        self.server.sendall(data)

    def _answer(self, message):
        self.client.sendall(json.dumps(message).encode() + b"\r\n")

    def _from_qemu(self):
        for line in self.lines():
            self.pass_answer(line)

    def lines(self):
        """What QEMU says next, as far as lines are whole."""
        data = self.server.recv(65536)
        if not data:
            raise _End
        self.answers += data
        while b"\n" in self.answers:
            line, self.answers = self.answers.split(b"\n", 1)
            yield line

    def pass_answer(self, line):
        message = json.loads(line)
        ident = message.get("id")
        if "event" not in message and ident in self.close_on:
            raise _End
        if "event" not in message and ident in self.swallow:
            self.swallow.discard(ident)
            return
        if self.proxy.rewrite:
            request = self.asked.pop(ident, None)
            message = self.proxy.rewrite(request, message)
            line = (message if isinstance(message, bytes)
                    else json.dumps(message).encode())
        self.client.sendall(line + b"\n")
