# SPDX-License-Identifier: GPL-2.0-or-later
"""A private mount namespace in which the built programs are installed.

    with Namespace(tmp) as inside:
        inside.run("mount", "-t", "fuse.fleecefs", source, mountpoint)

mount(8) and umount(8) find their helpers in it, and the system has nothing of
it.  Everybody may open /dev/fuse there, as udev has it.  Files there are seen
from outside below root.
"""

import contextlib
import glob
import os
import subprocess

import mount
from deadline import DEADLINE, wait_for
from sanitizers import sanitizer_environment

NOBODY = 65534
# A copy of another test's mount would keep it alive after its umount.
_SETUP = """
awk -v mine="$1/" '$5 ~ "^/tmp/flt-" && index($5, mine) != 1 {print $5}' \\
    /proc/self/mountinfo | xargs -r -n1 umount -l
set -e
bins=$(echo "$1"/installed/*/bin "$1"/installed/*/*/bin | tr ' ' '\\n' |
       grep -v '[*]')
sbins=${bins%/bin}/sbin
mount -t overlay overlay -o "lowerdir=$sbins:/usr/sbin" /usr/sbin
mount -t overlay overlay -o "lowerdir=$bins:${bins#"$1"/installed}" \\
    "${bins#"$1"/installed}"
mount -t tmpfs tmpfs /run
touch "$1/fstab"
mount --bind "$1/fstab" /etc/fstab
mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
touch "$1/ready"
exec tail -f "$1/ready" /dev/null
"""


class Namespace:
    """A context manager; its end takes every mount in it away.

    directory is private to the test and becomes open to all users.  Its file
    fstab is /etc/fstab there, and /run is empty: nothing of ours may be left
    in it.
    """

    def __init__(self, directory):
        self.directory = str(directory)
        self.env = {**os.environ, **sanitizer_environment(directory)}
        self._holder = None

    def __enter__(self):
        os.chmod(self.directory, 0o1777)
        subprocess.run(
            ["meson", "install", "-C", mount.binary(""), "--no-rebuild",
             "--quiet", "--destdir", f"{self.directory}/installed"],
            check=True, stdout=subprocess.DEVNULL)
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", _SETUP,
             "sh", self.directory], stdout=subprocess.DEVNULL)
        wait_for(self._is_ready, what="the namespace")
        return self

    def __exit__(self, *exc):
        self._holder.kill()
        self._holder.wait(DEADLINE)

    def _is_ready(self):
        assert self._holder.poll() is None, "the namespace cannot be made"
        return os.path.exists(f"{self.directory}/ready")

    @property
    def root(self):
        """The root directory of the namespace, as seen from outside."""
        return f"/proc/{self._holder.pid}/root"

    def path(self, path):
        """A path in the namespace, as seen from outside."""
        return self.root + path

    def run(self, *command, user=None, env=None):
        """Run a command there to its end, with all that it says.

        Its end is that of its output too: whoever holds the pipes makes this
        wait, and the deadline makes it fail.
        """
        words = ["nsenter", "-m", "-t", str(self._holder.pid)]
        if user is not None:
            words += ["setpriv", f"--reuid={user}", f"--regid={user}",
                      "--clear-groups"]
        return subprocess.run([*words, *map(str, command)], check=False,
                              capture_output=True, text=True,
                              stdin=subprocess.DEVNULL,
                              timeout=4 * DEADLINE,
                              env={**self.env, **(env or {})})

    def good(self, *command, **options):
        """Run a command that must succeed and say nothing on stderr."""
        done = self.run(*command, **options)
        assert (done.returncode, done.stderr) == (0, ""), (command, done)
        return done.stdout

    def kind(self, mountpoint):
        """The filesystem's type in the kernel's list, or ""."""
        with open(f"/proc/{self._holder.pid}/mounts",
                  encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if words[1] == mountpoint:
                    return words[2]
        return ""

    def leftovers(self):
        """What of ours lies in /run there, libmount's notes included."""
        found = glob.glob(f"{self.root}/run/fleecefs*")
        with contextlib.suppress(FileNotFoundError):
            with open(f"{self.root}/run/mount/utab", encoding="utf-8") as file:
                found += file.read().splitlines()
        return found
