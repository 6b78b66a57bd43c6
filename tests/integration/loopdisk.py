# SPDX-License-Identifier: GPL-2.0-or-later
"""A filesystem for scratch on a device that stalls or fails when told to.

    with LoopDisk(tmp) as disk:
        mount_factory(vm.qmp_path, f"scratch={disk.path}")
        with disk.frozen():
            …

It is ext4 on a loop device; its image lies on a tmpfs.  Where that is smaller
than the image (room), what is written goes into memory, and cannot be stored
later: the device has I/O errors, as a thin volume that is full.  With
sync=True the writer is told at once.
"""

import contextlib
import os
import subprocess
import threading

import images

# However badly a test ends, nobody hangs for longer than that.
THAW_AT_LAST = 90


class LoopDisk:
    """A context manager; private directories are made below tmp."""

    def __init__(self, tmp, size=64 * images.MiB, room=None, sync=False):
        self.path, self.store = f"{tmp}/loop", f"{tmp}/loop-store"
        self.size, self.sync = size, sync
        self.room = room or 2 * size

    def __enter__(self):
        os.makedirs(self.path)
        os.makedirs(self.store)
        run("mount", "-t", "tmpfs", "-o", f"size={2 * self.size}", "none",
            self.store)
        try:
            self._mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _mount(self):
        image = f"{self.store}/image"
        images.create(image, size=self.size)
        run("mkfs.ext4", "-q", "-F", "-E",
            "lazy_journal_init=0,lazy_itable_init=0,nodiscard", image)
        used = os.stat(image).st_blocks * 512
        options = "loop,sync" if self.sync else "loop"
        run("mount", "-o", options, image, self.path)
        if self.room < self.size:
            run("mount", "-o", f"remount,size={used + self.room}", self.store)

    def __exit__(self, *exc):
        self.thaw()
        for path in (self.path, self.store):
            subprocess.run(["umount", "-l", path], check=False,
                           capture_output=True)

    def thaw(self):
        """Nothing happens where it is not frozen."""
        subprocess.run(["fsfreeze", "-u", self.path], check=False,
                       capture_output=True)

    @contextlib.contextmanager
    def frozen(self):
        """Whoever writes to it or makes a file there hangs meanwhile."""
        run("fsfreeze", "-f", self.path)
        timer = threading.Timer(THAW_AT_LAST, self.thaw)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self.thaw()


def run(*words):
    subprocess.run(words, check=True, capture_output=True)
