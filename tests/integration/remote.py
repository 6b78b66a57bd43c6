# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt on another machine: a Host with a libvirtd that listens there.

    with Remote(tmp, 1, cache, pki) as hv:
        domain = hv.libvirt.start("web01", [...])
        mount_factory(hv.uri, *hv.words)
        hv.cut()

Both its own wire and that of the disks are TLS, with the certificates of
directory pki (pki.py).
"""

import pki
from hosts import Host
from libvirtd import Libvirtd

_LISTEN = """
listen_tls = 1
listen_tcp = 0
listen_addr = "{address}"
ca_file = "{ca}/ca-cert.pem"
cert_file = "{ca}/server-cert.pem"
key_file = "{ca}/server-key.pem"
"""
_QEMU = """
backup_tls_x509_cert_dir = "{ca}"
backup_tls_x509_verify = 1
"""


class Remote(Host):
    """A context manager; backups says whether disks may be shown there."""

    def __init__(self, tmp, number, cache, backups=True):
        super().__init__(tmp, number)
        self.cache, self.backups = cache, backups
        self.directory = f"{tmp}/{self.name}"
        self.libvirt = None

    def __enter__(self):
        super().__enter__()
        with self.stack:
            ca = pki.authority(self.directory, self.there)
            self.friend = pki.client(f"{self.directory}/friend", ca)
            self.uri = (f"qemu+tls://{self.there}/system?"
                        f"pkipath={self.friend}")
            self.libvirt = self.stack.enter_context(Libvirtd(
                self.directory, self.cache,
                _LISTEN.format(ca=ca, address=self.there),
                _QEMU.format(ca=ca) if self.backups else "",
                ("ip", "netns", "exec", self.name)))
            self.stack = self.stack.pop_all()
        return self

    @property
    def words(self):
        """Options with which its disks can be read."""
        return (f"tls_certificates={self.friend}", "scratch_limit=1G")
