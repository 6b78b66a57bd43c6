# SPDX-License-Identifier: GPL-2.0-or-later
"""A real NBD server that is none of fleecefs's, started and ended by a test.

    with Server(tmp, "nbdkit", "-f", "-U", "{socket}", "memory", "1M") as one:
        mount_factory(one.uri(), "server=safe")

Words may have {socket} in them, the path of its socket, and {tmp}.
"""

import os
import signal
import socket
import subprocess
from urllib.parse import quote

from deadline import DEADLINE, wait_for
from ours import dies_with_us

SAFE = "server=safe"


class Server:
    """One process; a context manager.

    port is for one that listens on TCP, ready for one that makes this file
    when it is ready, which may be later than it listens.
    """

    def __init__(self, tmp, *words, name="server", port=None, ready=None):
        self.path, self.port, self.ready = f"{tmp}/{name}.nbd", port, ready
        self.command = [str(word).format(socket=self.path, tmp=tmp)
                        for word in words]
        self.log_path = f"{tmp}/{name}.said"
        self.process = None

    def __enter__(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                preexec_fn=dies_with_us())
        try:
            wait_for(self._listens, what=f"{self.command} to listen")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc):
        self.end()

    def _listens(self):
        assert self.process.poll() is None, (self.command, self.said())
        if self.ready:
            return os.path.exists(self.ready)
        if self.port is None:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(self.path) == 0
        with socket.socket() as probe:
            return probe.connect_ex(("localhost", self.port)) == 0

    def said(self):
        """What it said so far."""
        with open(self.log_path, errors="replace", encoding="utf-8") as file:
            return file.read()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def end(self):
        """As kill -9; nothing the second time."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        if os.path.exists(self.path):
            os.unlink(self.path)

    def hang(self):
        """It stays as it is and answers nothing any more."""
        self.signal(signal.SIGSTOP)

    def uri(self, export="", scheme="nbd", query=""):
        return uri_of(self.path, export, scheme, query)


def uri_of(path, export="", scheme="nbd", query=""):
    """The URI of a server on a unix socket."""
    return f"{scheme}+unix:///{quote(export, safe='')}?socket={path}{query}"


def nbdkit(tmp, *words, options=(), **server):
    """nbdkit with a plugin and its parameters."""
    return Server(tmp, "nbdkit", "-f", "-U", "{socket}", *options, *words,
                  **server)


def script(tmp, cases, **server):
    """nbdkit's sh plugin: cases stand between "case $1 in" and "esac"."""
    path = f"{tmp}/plugin.sh"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'case "$1" in\n{cases}\n*) exit 2;;\nesac\n')
    os.chmod(path, 0o755)
    return nbdkit(tmp, "sh", path, **server)


def free_port():
    """A TCP port that nobody listens on, most probably."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def storage_daemon(tmp, *exports, name="server"):
    """qemu-storage-daemon with (name, image, format, options) each."""
    ready = f"{tmp}/{name}.pid"
    words = ["qemu-storage-daemon", "--pidfile", ready, "--nbd-server",
             "addr.type=unix,addr.path={socket}"]
    for number, (export, image, fmt, options) in enumerate(exports):
        words += ["--blockdev", f"driver=file,filename={image},"
                  f"node-name=f{number},discard=unmap",
                  "--blockdev", f"driver={fmt},file=f{number},"
                  f"node-name=d{number},discard=unmap",
                  "--export", f"type=nbd,id=e{number},node-name=d{number},"
                  f"name={export}{options}"]
    return Server(tmp, *words, name=name, ready=ready)


def add_bitmap(image, name, *writes):
    """A persistent bitmap in a qcow2 image, and all that it records."""
    subprocess.run(["qemu-img", "bitmap", "--add", image, name], check=True)
    for pattern, offset, length in writes:
        subprocess.run(["qemu-io", "-f", "qcow2", "-c",
                        f"write -P {pattern} {offset} {length}", image],
                       check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "bitmap", "--disable", image, name],
                   check=True)
