# SPDX-License-Identifier: GPL-2.0-or-later
"""bridge.py SOCKET: what comes in goes to a unix socket, and back."""

import os
import socket
import sys
import threading


def copy(receive, send):
    """The end of one stream is that of both."""
    while data := receive(1 << 16):
        send(data)
    os._exit(0)


def write_all(data):
    """To stdout."""
    while data:
        data = data[os.write(1, data):]


with socket.socket(socket.AF_UNIX) as peer:
    peer.connect(sys.argv[1])
    threading.Thread(target=copy, args=(peer.recv, write_all),
                     daemon=True).start()
    copy(lambda size: os.read(0, size), peer.sendall)
