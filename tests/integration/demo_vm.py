# SPDX-License-Identifier: GPL-2.0-or-later
"""What ./demo does to its VM and cannot say in shell.

    demo_vm.py place                  a directory that can hold scratch files
    demo_vm.py install IMAGE          put the writing guest on a raw image
    demo_vm.py qmp SOCKET COMMAND     run one QMP command
    demo_vm.py writes SOCKET N        wait until each disk had N more writes
    demo_vm.py state SOCKET PID DIR   all that a mount must put back, as JSON
    demo_vm.py newest FILE...         the guest's newest count on each disk,
                                      once it is shown to be one instant
    demo_vm.py scratch STATUS         bytes of scratch in use by all disks
    demo_vm.py read FILE              read it; print bytes, or the error
"""

import json
import os
import signal
import sys

import guest
import vmstate
from deadline import wait_for
from qmp import Qmp

# 2 MiB a disk: the guest has been round it after `slots` writes.
RING = guest.Ring(slots=256, sectors=16, drives=2)
PLACES = ("/var/tmp", "/tmp", "/dev/shm")
DEADLINE = 60


def place():
    """The first directory whose filesystem has O_TMPFILE."""
    for directory in PLACES:
        try:
            os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))
            return directory
        except OSError:
            continue
    raise SystemExit(f"no O_TMPFILE in any of {', '.join(PLACES)}")


def install(image):
    guest.install(image, RING)


def qmp(socket, command):
    with Qmp(socket) as session:
        session.execute(command)


def writes(socket, more):
    """Wait until the guest has finished that many writes on every disk."""
    def done():
        with Qmp(socket) as session:
            entries = session.execute("query-blockstats")
        return [entry["stats"]["wr_operations"] for entry in entries
                if entry.get("qdev")]

    goal = [count + int(more) for count in done()]
    wait_for(lambda: all(now >= want for now, want in zip(done(), goal)),
             DEADLINE, f"{more} more guest writes on every disk")


def state(socket, pid, directory):
    with Qmp(socket) as session:
        picture = vmstate.qemu_state(session, int(pid), directory)
    return json.dumps(picture, indent=1, sort_keys=True)


def newest(*files):
    """Ring.newest() and same_instant() fail where it is not one instant."""
    counts = [RING.newest(RING.read(file)) for file in files]
    guest.same_instant(counts)
    return " ".join(map(str, counts))


def scratch(status):
    with open(status, encoding="utf-8") as file:
        vms = json.load(file)["vms"]
    return sum(disk["scratch_bytes"] for vm in vms
               for disk in vm.get("disks", []))


def read(path):
    """How a read of the whole file ends."""
    total = 0
    try:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(1 << 20):
                total += len(data)
    except OSError as error:
        return error.strerror
    return f"{total} bytes"


def main():
    """Run the function that the first word names; print what it returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)    # end without a word
    verbs = (place, install, qmp, writes, state, newest, scratch, read)
    verb = {function.__name__: function for function in verbs}[sys.argv[1]]
    said = verb(*sys.argv[2:])
    if said is not None:
        print(said)


if __name__ == "__main__":
    main()
