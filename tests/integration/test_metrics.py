# SPDX-License-Identifier: GPL-2.0-or-later
"""What a monitoring system reads, in the text format of Prometheus."""

import os
import re

import images
import scene
from deadline import wait_for
from files import error_of, punch, read_at

MiB = images.MiB
TWO = (("va", "qcow2", 8 * MiB), ("vb", "raw", 8 * MiB))
STATES = {"available", "failed", "live", "broken", "gone"}
HEAD = re.compile(r"# (HELP|TYPE) (fleecefs_[a-z_]+) (.+)")
SAMPLE = re.compile(r"(fleecefs_[a-z_]+)(?:\{(.*)\})? (\d+(?:\.\d+)?)")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\["\\n])*)"(?:,|$)')


def labels_of(text):
    """As a frozenset of pairs; all of the text has to be labels."""
    assert LABEL.sub("", text) == "", text
    return frozenset(
        (name, value.replace("\\n", "\n").replace('\\"', '"')
         .replace("\\\\", "\\")) for name, value in LABEL.findall(text))


def metrics_of(mnt):
    """name -> labels -> value; each name has its HELP and TYPE before all of
    its samples, and these stand together."""
    with open(mnt.join(".fleecefs", "metrics"), encoding="utf-8",
              newline="\n") as file:
        text = file.read()
    assert text.endswith("\n")
    found, heads = {}, {}
    for line in text.splitlines():
        head = HEAD.fullmatch(line)
        if head:
            heads.setdefault(head[2], []).append(head[1])
            current = head[2]
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        assert name == current and heads[name] == ["HELP", "TYPE"], line
        series = found.setdefault(name, {})
        labels = labels_of(labels or "")
        assert labels not in series, line
        series[labels] = float(value)
    return found


def value(found, name, **labels):
    return found[f"fleecefs_{name}"][frozenset(labels.items())]


def state_of(found, vm):
    assert {dict(labels)["state"] for labels in found["fleecefs_vm_state"]
            if dict(labels)["vm"] == vm} == STATES
    states = [state for state in STATES
              if value(found, "vm_state", vm=vm, state=state)]
    assert len(states) == 1
    return states[0]


def test_as_in_the_status(tmp, vm_factory, mount_factory, tmpfs):
    """The same as there, and it changes as that does."""
    two = scene.build(tmp, vm_factory, TWO)
    mnt = mount_factory(two.vm.qmp_path, "snapshot=mkdir", "discard",
                        f"scratch={tmpfs('64m')}", "scratch_limit=32M")
    before = metrics_of(mnt)
    assert state_of(before, "web01") == "available"
    assert "fleecefs_disk_size_bytes" not in before
    os.mkdir(mnt.join("web01"))
    two.overwrite_all("va", 0x21)
    assert read_at(two.file(mnt, "va"), 0, MiB)
    with open(two.file(mnt, "vb"), "r+b", buffering=0) as file:
        punch(file.fileno(), 0, MiB)
    found, status = metrics_of(mnt), mnt.vm_status("web01")
    assert state_of(found, "web01") == "live"
    for disk in status["disks"]:
        of = {"vm": "web01", "disk": disk["name"]}
        for name in ("size", "allocated", "dirty", "scratch"):
            key = name if name in disk else f"{name}_bytes"
            assert value(found, f"disk_{name}_bytes", **of) == disk[key]
        for name in ("read_bytes", "freed_bytes", "failed_reads"):
            assert value(found, f"disk_{name}_total", **of) == disk[name]
    va = {"vm": "web01", "disk": "va"}
    assert value(found, "disk_read_bytes_total", **va) >= MiB
    assert value(found, "disk_scratch_bytes", **va) >= MiB
    assert value(found, "disk_freed_bytes_total", vm="web01",
                 disk="vb") == MiB
    assert value(found, "scratch_limit_bytes") == 32 * MiB
    assert value(found, "scratch_left_bytes") == \
        32 * MiB - status["scratch_bytes"]
    assert round(value(found, "snapshot_pause_seconds", vm="web01") * 1e3,
                 3) == status["pause_ms"] > 0
    assert value(found, "snapshot_committed", vm="web01") == 0
    two.vm.kill()
    wait_for(lambda: state_of(metrics_of(mnt), "web01") == "gone",
             what="the end of the VM to be told")
    # a hole may be read all the same, which is right
    error_of(read_at, two.file(mnt, "va"), 4 * MiB, MiB)
    mnt.umount()


def test_names(tmp, vm_factory, mount_factory):
    """What a label may not have is escaped."""
    name = 'a"b\\c é'
    path = images.make("raw", f"{tmp}/x.img")
    vm = vm_factory(name.replace(",", ",,"), [scene.Disk("va", path)])
    mnt = mount_factory(vm.qmp_path)
    found = metrics_of(mnt)
    shown = os.listdir(mnt.path)
    assert len(shown) == 1
    assert value(found, "disk_size_bytes", vm=shown[0], disk="va") == \
        os.path.getsize(path)
    mode = os.stat(mnt.join(".fleecefs", "metrics")).st_mode
    assert mode & 0o777 == 0o400
    mnt.umount()
