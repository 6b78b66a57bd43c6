# SPDX-License-Identifier: GPL-2.0-or-later
"""Options and URIs that make no sense with an NBD server, or without one."""

import pytest

import mount
import refusal
from nbdserver import uri_of
from test_sources import write_conf

FOR_QEMU = ("chain=a", "since=20261120T234501123Z", "fallback=full", "keep=2",
            "freeze=try", "agent=/a", "method=job", "scratch=/tmp",
            "scratch_limit=1G", "scratch_reserve=1G", "cbw_timeout=3",
            "unsafe_qemu")
FOR_NBD = ("bitmap=a", "tls=require", "tls_psk=/a", "tls_certificates=/a",
           "server=safe")


@pytest.mark.parametrize("word", FOR_QEMU)
def test_word_for_qemu(tmp, mount_factory, word):
    mnt = mount_factory(uri_of(f"{tmp}/none"), word, check=False)
    refusal.assert_refused(mnt, f"'{word.split('=')[0]}'", "NBD server",
                           status=mount.USAGE)


@pytest.mark.parametrize("word", FOR_NBD)
def test_word_for_nbd(tmp, mount_factory, word):
    mnt = mount_factory(f"{tmp}/none.qmp", word, check=False)
    refusal.assert_refused(mnt, f"'{word.split('=')[0]}'", "NBD server",
                           status=mount.USAGE)


@pytest.mark.parametrize("words, said", (
    (("tls_psk=/a",), "nbds"), (("tls_psk=/a", "tls_certificates=/a"), "one"),
    (("tls=allow",), "require"), (("server=old",), "any or safe"),
    (("bitmap=",), "not empty")))
def test_bad_words(tmp, mount_factory, words, said):
    mnt = mount_factory(uri_of(f"{tmp}/none"), *words, check=False)
    refusal.assert_refused(mnt, said, status=mount.USAGE)


@pytest.mark.parametrize("uri, said", (
    ("nbd+unix:///?socket=here", "absolute"), ("nbd+unix:///", "socket"),
    ("nbd+unix:///?socket=/none", "connect"), ("nbd+ssh://a/", "nbd+ssh")))
def test_bad_uri(mount_factory, uri, said):
    mnt = mount_factory(uri, check=False)
    refusal.assert_refused(mnt, said)


@pytest.mark.parametrize("keys, said", (
    ({"nbd": "/a"}, "no NBD URI"), ({"disks": "a"}, "needs one of"),
    ({"nbd": "nbd://a", "qmp": "/a"}, "needs one of qmp="),
    ({"nbd": "nbd://a", "chain": "a"}, "'chain'"),
    ({"qmp": "/a", "bitmap": "a"}, "'bitmap'")))
def test_bad_group(tmp, mount_factory, keys, said):
    write_conf(f"{tmp}/site.conf", {"web01": keys})
    mnt = mount_factory(f"{tmp}/site.conf", check=False)
    refusal.assert_refused(mnt, "group [web01]", said)
