# SPDX-License-Identifier: GPL-2.0-or-later
"""Authorities of a test's own, and certificates from them.

    ca = authority(f"{tmp}/pki", address="198.18.0.2")
    friend = client(f"{tmp}/friend", ca)

An authority's directory is one for servers, too, as QEMU and nbdkit take it.
"""

import os
import shutil
import subprocess

_SERVER = ("cn=localhost\ndns_name=localhost\ntls_www_server\nencryption_key\n"
           "signing_key\n")
_CLIENT = "cn=client\ntls_www_client\nencryption_key\nsigning_key\n"


def certtool(*words):
    subprocess.run(["certtool", "--hash=SHA256", *words],
                   check=True, capture_output=True)


def _key(directory, name, text):
    """A key, and what its certificate is to say."""
    with open(f"{directory}/{name}.info", "w", encoding="utf-8") as file:
        file.write(text)
    # libvirt wants keys that can encipher others, which ECDSA's cannot
    certtool("--generate-privkey", "--key-type=rsa", "--bits=2048",
             f"--outfile={directory}/{name}-key.pem")
    return [f"--template={directory}/{name}.info",
            f"--load-privkey={directory}/{name}-key.pem",
            f"--outfile={directory}/{name}-cert.pem"]


def _certify(directory, ca, name, text):
    certtool("--generate-certificate", *_key(directory, name, text),
             f"--load-ca-certificate={ca}/ca-cert.pem",
             f"--load-ca-privkey={ca}/ca-key.pem")


def authority(directory, address=None):
    """A directory with an authority of its own and a server's key, which is
    localhost's and, unless None, that of an address."""
    os.mkdir(directory)
    certtool("--generate-self-signed",
             *_key(directory, "ca", "cn=Test\nca\ncert_signing_key\n"))
    _certify(directory, directory, "server", _SERVER + (
        f"ip_address={address}\n" if address else ""))
    # else QEMU looks for some itself, for seconds
    certtool("--get-dh-params", "--sec-param=medium",
             f"--outfile={directory}/dh-params.pem")
    return directory


def trust(directory, ca):
    """What a client needs: the authority's certificate, and nothing else."""
    os.mkdir(directory)
    shutil.copy(f"{ca}/ca-cert.pem", directory)
    return directory


def client(directory, ca, trusted=None):
    """The same for one whom the authority knows, and who trusts another, or
    the same; also as libvirt names the files."""
    trust(directory, trusted or ca)
    _certify(directory, ca, "client", _CLIENT)
    for name, other in (("ca-cert", "cacert"), ("client-cert", "clientcert"),
                        ("client-key", "clientkey")):
        os.symlink(f"{name}.pem", f"{directory}/{other}.pem")
    return directory
