# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own fleecing patterns, through the mount, for formats and methods."""

import pytest

import images
import scene

METHODS = ("filter", "job")


def disks_of(kind):
    """Two, the second one of an odd size."""
    return (("va", kind, images.SIZE), ("vb", "qcow2", scene.ODD_SIZE))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", images.KINDS)
def test_image_fleecing_patterns(tmp, vm_factory, mount_factory, kind,
                                 method):
    """Partial, adjacent and unallocated overwrites never show."""
    patterned = scene.build(tmp, vm_factory,
                            (("va", kind, images.PATTERN_SIZE),),
                            patterns=images.PATTERNS)
    vm = patterned.vm
    mnt = mount_factory(vm.qmp_path, f"method={method}")
    for pattern, offset, length in images.ALL_OVERWRITES:
        vm.write("va", offset, length, pattern)
    for pattern, offset, length in images.ALL_OVERWRITES + images.REMAINDER:
        vm.reads("va", offset, length, pattern)
    with open(patterned.file(mnt, "va"), "rb") as file:
        for pattern, offset, length in images.PATTERNS + images.ZEROES:
            file.seek(offset)
            assert file.read(length) == bytes([pattern]) * length, offset
    patterned.assert_shown(mnt)
    mnt.umount()
    patterned.assert_as_before()
    for pattern, offset, length in images.ALL_OVERWRITES + images.REMAINDER:
        vm.reads("va", offset, length, pattern)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", images.KINDS)
def test_everything_overwritten(tmp, vm_factory, mount_factory, kind, method):
    """Two disks show the instant although no live byte of it is left."""
    two = scene.build(tmp, vm_factory, disks_of(kind))
    mnt = mount_factory(two.vm.qmp_path, f"method={method}")
    for disk_id in two.expected:
        two.overwrite_all(disk_id)
    two.assert_shown(mnt)
    mnt.umount()
    two.assert_as_before()
    two.vm.quit()
    for disk_id, disk in two.vm.disks.items():
        live = images.content_sha(disk.image, disk.fmt)
        assert live != two.sha(disk_id)


@pytest.mark.parametrize("attachment", ("virtio-scsi", "ide", "nvme",
                                        "usb-storage"))
@pytest.mark.parametrize("style", ("blockdev", "drive"))
def test_attachments(tmp, vm_factory, mount_factory, attachment, style):
    """What the guest sees as a disk is a disk, however it is attached."""
    two = scene.build(tmp, vm_factory, disks_of("qcow2"), disk_options={
        "attachment": attachment, "style": style})
    mnt = mount_factory(two.vm.qmp_path)
    for disk_id in two.expected:
        two.overwrite_all(disk_id)
    two.assert_shown(mnt)
    mnt.umount()
    two.assert_as_before()


@pytest.mark.parametrize("method", METHODS)
def test_throttled_disk(tmp, vm_factory, mount_factory, method):
    """A throttle on top stays where it is."""
    one = scene.build(tmp, vm_factory, disks_of("qcow2")[:1],
                      disk_options={"throttle": True})
    mnt = mount_factory(one.vm.qmp_path, f"method={method}")
    one.overwrite_all("va")
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()


def test_length_that_is_no_multiple_of_512(tmp, vm_factory, mount_factory):
    """A raw image's odd tail is there, padded as the guest sees it."""
    one = scene.build(tmp, vm_factory, (("va", "raw", 5 * images.MiB + 100),))
    mnt = mount_factory(one.vm.qmp_path)
    one.vm.write("va", 0, images.MiB, 0x31)
    one.assert_shown(mnt)
    mnt.umount()
    one.assert_as_before()
