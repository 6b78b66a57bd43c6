# SPDX-License-Identifier: GPL-2.0-or-later
"""Other hosts: network namespaces, each at the end of a cable of its own.

    with Host(tmp, "hv1") as host:
        host.serve("memory", "1M")          # nbdkit on host.uri
        host.cut()                          # the cable is out
"""

import contextlib
import ipaddress
import os
import subprocess

from nbdserver import Server

# Of the networks for tests (RFC 2544); four addresses a cable.
_NET = ipaddress.ip_network("198.18.0.0/15")
PORT = 10809


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Host:
    """A context manager; number tells one process's hosts apart."""

    def __init__(self, tmp, number):
        self.tmp, self.number = tmp, number
        self.name = f"flt-{os.getpid()}-{number}"
        self.cable = f"f{os.getpid()}h{number}"
        first = (os.getpid() * 32 + number * 4) % _NET.num_addresses
        self.here, self.there = (str(_NET[first + one]) for one in (1, 2))
        self.uri = f"nbd://{self.there}/"
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with self.stack:
            ip("netns", "add", self.name)
            self.stack.callback(ip, "netns", "del", self.name)
            ip("link", "add", self.cable, "type", "veth", "peer", "name",
               "eth0", "netns", self.name)
            # deleting the namespace alone removes it some time later
            self.stack.callback(ip, "link", "del", self.cable)
            ip("addr", "add", f"{self.here}/30", "dev", self.cable)
            ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev",
               "eth0")
            ip("link", "set", self.cable, "up")
            self.plug_in()
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def serve(self, *words, options=()):
        """nbdkit there, with a plugin and its parameters."""
        ready = f"{self.tmp}/{self.name}.pid"
        server = Server(self.tmp, "ip", "netns", "exec", self.name, "nbdkit",
                        "-f", "-P", ready, "-p", PORT, *options, *words,
                        name=self.name, ready=ready)
        return self.stack.enter_context(server)

    def cut(self):
        """Nothing comes through, and nobody is told."""
        ip("-n", self.name, "link", "set", "eth0", "down")

    def plug_in(self):
        ip("-n", self.name, "link", "set", "eth0", "up")
