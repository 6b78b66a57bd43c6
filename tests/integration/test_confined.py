# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of the rights of the processes behind a mount."""

import os

import images
import scene

KEPT = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2,
        "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}


def facts(pid, thread):
    """proc(5)'s status of a thread."""
    with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
        return dict(line.split(":\t", 1) for line in file)


def rights(status):
    """(no_new_privs, seccomp filter?, effective, bounding)"""
    return (int(status["NoNewPrivs"]), int(status["Seccomp"]),
            int(status["CapEff"], 16), int(status["CapBnd"], 16))


def test_root_is_confined(tmp, vm_factory, mount_factory):
    """Every thread of the daemon and of the guardian, unlike ourselves."""
    one = scene.build(tmp, vm_factory)
    mnt = mount_factory(one.vm.qmp_path)
    most = sum(1 << number for number in KEPT.values())
    _, _, ours, _ = rights(facts(os.getpid(), os.getpid()))
    assert ours & ~most, "the tests have no rights that could be given up"
    pids = mnt.processes()
    assert len(pids) == 2
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            assert rights(facts(pid, thread)) == (
                1, 2, ours & most, ours & most), (pid, thread)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_who_starts_programs_for_it(tmp, mount_factory):
    """Where images may be read, a third process has no seccomp filter, and
    not one right more; nor has what it starts."""
    images.make("raw", f"{tmp}/va.raw", images.MiB, seed=1)
    with open(f"{tmp}/site.conf", "w", encoding="ascii") as file:
        print(f"[off]\nimage={tmp}/va.raw", file=file)
    mnt = mount_factory(f"{tmp}/site.conf")
    most = sum(1 << number for number in KEPT.values())
    _, _, ours, bound = rights(facts(os.getpid(), os.getpid()))
    starter, = (pid for pid in mnt.processes()
                if facts(pid, pid)["Name"] == "fleecefs-images\n")
    with open(f"/proc/{starter}/task/{starter}/children",
              encoding="ascii") as file:
        reader, = map(int, file.read().split())
    assert facts(reader, reader)["Name"].startswith("qemu-storage")
    for pid in (starter, reader):
        assert rights(facts(pid, pid)) == (
            1, 0, ours & most, bound & most), pid
    mnt.umount()


def test_a_lowered_priority(tmp, vm_factory, mount_factory):
    """renice(8), which a confined process could not take back."""
    one = scene.build(tmp, vm_factory)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(ours, 10))
    try:
        mnt = mount_factory(one.vm.qmp_path, "snapshot=mkdir")
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, ours)
    for thread in os.listdir(f"/proc/{mnt.pid}/task"):
        os.setpriority(os.PRIO_PROCESS, int(thread), 19)
    os.mkdir(mnt.join("web01"))
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()
