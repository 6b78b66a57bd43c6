# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU whose answers are mutated at random, by a seed.

Each round is a night of a chain: snapshot, commit, release.  Any of them may
fail, in an errno and in time; the daemon lives on.  When QEMU is honest again
the next night is a good one, and QEMU is as it was before.

* FLEECEFS_TEST_MUTATIONS: how many rounds of each method (6)
* FLEECEFS_TEST_SEED: another seed (1)
"""

import os
import random

import pytest

import images
import scene
from deadline import wait_for
from files import error_of
from proxmox import ProxmoxProxy
from qmpmutator import Mutator

ROUNDS = int(os.environ.get("FLEECEFS_TEST_MUTATIONS", "6"))
SEED = os.environ.get("FLEECEFS_TEST_SEED", "1")
DISKS = (("va", "qcow2", 2 * images.MiB), ("vb", "raw", images.MiB))


class Stage:
    """A mount of a VM behind a proxy that can be told to lie."""

    def __init__(self, tmp, vm_factory, mount_factory, proxy, method):
        self.disks = DISKS[:1] if method == "access" else DISKS
        self.scene = scene.build(tmp, vm_factory, self.disks)
        self.proxy = proxy
        self.name = "proxy"
        proxy.target = self.scene.vm.qmp_path
        self.mnt = mount_factory(proxy.path, f"method={method}", "timeout=1",
                                 "chain=nightly", "snapshot=mkdir")

    def directory(self):
        return self.mnt.join(self.name)

    def night(self):
        """The errnos of a night, "none" where all is well."""
        errors = [error_of(os.mkdir, self.directory())]
        if os.path.exists(self.directory()):
            errors.append(error_of(self.mnt.control, f"commit {self.name}"))
            errors.append(error_of(os.rmdir, self.directory()))
        return errors

    def settle(self):
        """A good night with an honest QEMU; nothing of ours is left."""
        self.proxy.rewrite = None
        wait_for(lambda: error_of(os.mkdir, self.directory()) == "none",
                 what="a snapshot")
        self.scene_is_shown()
        self.mnt.control(f"commit {self.name}")
        os.rmdir(self.directory())
        assert self.leftovers() == {}

    def scene_is_shown(self):
        for disk_id in self.scene.expected:
            shown = os.path.join(self.directory(), f"{disk_id}.raw")
            assert images.sha256(shown) == self.scene.sha(disk_id)

    def leftovers(self):
        now, before = self.scene.vm.state(), self.scene.before
        found = {key: value for key, value in now.items()
                 if key != "bitmaps" and value != before[key]}
        names = [bitmap[1] for bitmap in now["bitmaps"]]
        if len(names) != len(self.disks) or any("pending" in n for n in names):
            found["bitmaps"] = names
        return found


@pytest.fixture
def proxy(tmp):
    with ProxmoxProxy(f"{tmp}/proxy.qmp", "set by the stage") as one:
        yield one


@pytest.mark.parametrize("method", ("filter", "job", "access"))
def test_mutated_answers(tmp, vm_factory, mount_factory, proxy, method):
    stage = Stage(tmp, vm_factory, mount_factory, proxy, method)
    stage.settle()
    failed = 0
    for number in range(ROUNDS):
        rng = random.Random(f"{SEED} {method} {number}")
        mutator = proxy.rewrite = Mutator(rng, rng.choice((4, 20, 60)))
        errors = stage.night()
        failed += set(errors) != {"none"}
        proxy.rewrite = None
        try:
            assert stage.mnt.returncode is None, stage.mnt.report()
            wait_for(lambda: stage.scene.vm.run_state() == "running",
                     what="the guest to run")
            stage.settle()
        except (AssertionError, OSError) as error:
            error.add_note(f"{SEED=} {method} {number}: {errors} after "
                           f"{mutator.said}\n{stage.mnt.report()}")
            raise
    assert failed > ROUNDS // 4, "the mutations were too tame"
    stage.mnt.umount()
    assert stage.leftovers() == {}
