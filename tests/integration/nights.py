# SPDX-License-Identifier: GPL-2.0-or-later
"""A chain's backups, night by night, as an administrator would make them.

    nights = Nights(tmp, scene, mount_factory, "method=job")
    nights.backup()                     # full
    scene.vm.write("va", 0, 65536, 0x11)
    nights.backup()                     # what has changed

Each backup updates a copy of every disk in place with the recipe of the
README and asserts that it then is what the snapshot shows.
"""

import json
import os
import subprocess

import files
import images

CHAIN = "nightly"

# The README's, word for word but for the paths.
UPDATE = """
for map in {mnt}/web01/*.dirty; do
    disk=${{map%.dirty}} copy={copies}/$(basename "$map" .dirty).raw
    ddrescue -q -X 0 -m "$map" "$disk.raw" "$copy" || exit 1
done
"""


class Nights:
    """A mount with a chain and snapshot=mkdir, and the copies."""

    def __init__(self, tmp, scene, mount_factory, *words, chain=CHAIN,
                 name="mnt", qmp=None):
        self.scene, self.chain = scene, chain
        self.copies = os.path.join(tmp, f"copies-of-{chain}")
        os.makedirs(self.copies, exist_ok=True)
        self.mnt = mount_factory(qmp or scene.vm.qmp_path, f"chain={chain}",
                                 "snapshot=mkdir", *words, name=name)

    def snapshot(self):
        """Take the snapshot; what vm.json says of it."""
        os.mkdir(self.mnt.join("web01"))
        return self.facts()

    def facts(self):
        with open(self.mnt.join("web01", "vm.json"), encoding="utf-8") as file:
            return json.load(file)

    def modes(self):
        """disk -> None where it is incremental, else why it is full."""
        return {disk["name"]: disk["reason"] for disk in
                self.facts()["disks"]}

    def dirty(self, disk_id):
        """The dirty ranges [(start, length), …] of a disk."""
        with open(self.scene.file(self.mnt, disk_id, "dirty"),
                  encoding="ascii") as file:
            return [(start, length) for start, length, status
                    in files.parse_mapfile(file.read()) if status == "+"]

    def update(self):
        """Run the recipe; its exit status."""
        script = UPDATE.format(mnt=self.mnt.path, copies=self.copies)
        return subprocess.run(["sh", "-c", script], cwd=self.copies,
                              check=False).returncode

    def assert_copied(self):
        """The copies are what the snapshot shows."""
        for name in os.listdir(self.mnt.join("web01")):
            if name.endswith(".raw"):
                assert (images.sha256(self.mnt.join("web01", name))
                        == images.sha256(f"{self.copies}/{name}")), name

    def commit(self, force=False):
        self.mnt.control("commit web01" + (" --force" if force else ""))

    def release(self):
        os.rmdir(self.mnt.join("web01"))

    def backup(self, commit=True):
        """A whole night; the modes of its disks and its instant."""
        instant = self.snapshot()["instant"]
        modes = self.modes()
        assert self.update() == 0
        self.assert_copied()
        if commit:
            self.commit()
        self.release()
        return modes, instant

    def checkpoints(self, disk_id):
        """The names of the chain's bitmaps on a disk, oldest first."""
        node = self.scene.vm.disks[disk_id].bitmap_node
        return sorted(name for name in self.scene.vm.bitmaps(node)
                      if name.startswith(f"fleecefs.{self.chain}."))
