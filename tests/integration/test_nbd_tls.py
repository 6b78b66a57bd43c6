# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS: who is not who it should be shows nothing, and says why."""


import pytest

import refusal
from files import read_at
from nbdserver import Server, free_port, nbdkit
from pki import authority, trust
from recipe import Place, readme

PSK = "alice:0123456789abcdef0123456789abcdef"
WRONG_PSK = "alice:ffffffffffffffffffffffffffffffff"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """right and wrong: directories for clients; server: one for servers."""
    base = str(tmp_path_factory.mktemp("pki"))
    server, other = authority(f"{base}/server"), authority(f"{base}/other")
    return {"server": server, "right": trust(f"{base}/right", server),
            "wrong": trust(f"{base}/wrong", other), "none": f"{base}/none"}


def assert_refused(mount_factory, number, source, *words):
    """One line, of a mount that has a log of its own."""
    return refusal.assert_refused(mount_factory(
        source, *words, check=False, name=f"no{number}"), "VM nbd: ")


def assert_shows(mnt):
    assert read_at(mnt.join("nbd", "disk.raw"), 4096, 8) == (
        4096).to_bytes(8, "big")
    mnt.umount()


def with_certificates(tmp, pki, port):
    return Server(tmp, "nbdkit", "-f", "-p", port, "--tls=require",
                  f"--tls-certificates={pki['server']}", "pattern", "1M",
                  port=port)


def test_certificates(tmp, mount_factory, pki):
    """The right authority, over TCP; and everything else."""
    port = free_port()
    with open(f"{tmp}/psk", "w", encoding="ascii") as file:
        file.write(PSK + "\n")
    with with_certificates(tmp, pki, port):
        uri = f"nbds://localhost:{port}/"
        assert_shows(mount_factory(
            uri, f"tls_certificates={pki['right']}", "connections=2",
            "server=safe"))
        assert_shows(mount_factory(
            f"nbd://localhost:{port}/", "tls=require",
            f"tls_certificates={pki['right']}"))
        right = f"tls_certificates={pki['right']}"
        for number, (source, words, said) in enumerate((
                (uri, [f"tls_certificates={pki['wrong']}"], "certificate"),
                (uri, [f"tls_certificates={pki['none']}"], pki["none"]),
                (uri, [], "tls_certificates or tls_psk"),
                # the certificate is that of localhost
                (f"nbds://127.0.0.1:{port}/", [right], "certificate"),
                (f"nbd://localhost:{port}/", [], "requires TLS"),
                (f"nbds://alice@localhost:{port}/", [f"tls_psk={tmp}/psk"],
                 "gnutls"))):
            assert said in assert_refused(mount_factory, number, source,
                                          *words)


def test_readme(tmp, fleecefs, pki):
    """Its line, at another place."""
    place, port = Place(tmp, ""), free_port()
    with with_certificates(tmp, pki, port):
        done = place.run(readme("nbds://"), **{
            "/etc/pki/nbd": pki["right"],
            "host1.example.org": f"localhost:{port}"})
        assert (done.returncode, done.stdout) == (0, ""), done.stdout
        assert read_at(f"{place.mnt}/nbd/disk.raw", 4096, 8) == (
            4096).to_bytes(8, "big")
        assert place.run("umount.fleecefs /mnt").returncode == 0


def test_pre_shared_key(tmp, mount_factory):
    for name, key in (("right", PSK), ("wrong", WRONG_PSK)):
        with open(f"{tmp}/{name}.psk", "w", encoding="ascii") as file:
            file.write(key + "\n")
    with nbdkit(tmp, "pattern", "1M", options=(
            "--tls=require", f"--tls-psk={tmp}/right.psk")) as one:
        def uri(user):
            return f"nbds+unix://{user}@/?socket={one.path}"

        assert_shows(mount_factory(uri("alice"), f"tls_psk={tmp}/right.psk"))
        for number, (user, psk) in enumerate((
                ("alice", "wrong.psk"), ("bob", "right.psk"),
                ("alice", "none.psk"))):
            assert_refused(mount_factory, number, uri(user),
                           f"tls_psk={tmp}/{psk}")


@pytest.mark.parametrize("words", ((), ("--tls=on",)))
def test_server_without_tls(tmp, mount_factory, pki, words):
    """One that has none, and one that would do without: no way around it."""
    port = free_port()
    options = (*words, *(["--tls-certificates=" + pki["server"]]
                         if words else []))
    wrong = f"tls_certificates={pki['wrong']}"
    with Server(tmp, "nbdkit", "-f", "-p", port, *options, "pattern", "1M",
                port=port):
        assert_shows(mount_factory(f"nbd://localhost:{port}"))
        said = assert_refused(mount_factory, 1, f"nbds://localhost:{port}",
                              wrong)
        assert ("certificate" if words else "no TLS") in said


def test_certificates_over_a_unix_socket(tmp, mount_factory, pki):
    """Nobody would look at them: it is refused, the right ones too."""
    with nbdkit(tmp, "pattern", "1M", options=(
            "--tls=require", f"--tls-certificates={pki['server']}")) as one:
        for number, which in enumerate(("right", "wrong")):
            said = assert_refused(mount_factory, number,
                                  one.uri(scheme="nbds"),
                                  f"tls_certificates={pki[which]}")
            assert "tls_psk" in said and "unix socket" in said
