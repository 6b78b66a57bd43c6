# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in 512 bytes: a boot sector that writes through the BIOS for ever.

An iothread only takes a disk once a guest driver has started the device, so
an idle VM hides what goes wrong with iothreads.  This guest's driver is
SeaBIOS's (virtio-blk, virtio-scsi, IDE/AHCI, NVMe, USB); it needs no kernel.

It counts 1, 2, 3 …  Count c fills `sectors` sectors with the dword c and
writes them to slot (c mod slots) of the range, first on INT 13h drive 80h,
then on 81h and so on, and only then goes to c + 1.  Every write is finished
before the next begins.  So at any one instant a disk's range is a ring in
which the counts follow each other without a gap, and the newest count of one
drive is that of the next drive or one more: Ring checks both, which is the
proof that a snapshot is one instant, of all disks.

On machine pc, SeaBIOS drives IDE with programmed I/O, one sector a request:
there a write of several sectors is torn at an instant, as it would be on real
hardware.  Take sectors=1.
"""

import functools
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass

from deadline import wait_for

SECTOR = 512
FIRST_LBA = 2048

_SOURCE = """
        .code16
        .globl _start
_start:
        ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti
next:
        incl    count                   # fill the buffer with the count
        movl    count, %eax
        movw    $0x8000, %di
        movw    $(SECTORS * 128), %cx
        rep stosl
        xorl    %edx, %edx              # LBA = FIRST + count % SLOTS * SECTORS
        movl    $SLOTS, %ecx
        divl    %ecx
        imull   $SECTORS, %edx, %edx
        addl    $FIRST, %edx
        movl    %edx, lba
        movb    $0x80, drive
write:
        movw    $SECTORS, packet + 2    # the BIOS may have changed it
        movw    $packet, %si
        movb    drive, %dl
        movw    $0x4300, %ax            # INT 13h, extended write
        int     $0x13
        jc      write
        incb    drive
        cmpb    $(0x80 + DRIVES), drive
        jb      write
        jmp     next

        .balign 4
packet: .byte   16, 0                   # size, reserved
        .word   SECTORS
        .word   0x8000, 0               # buffer: offset, segment
lba:    .long   0, 0
count:  .long   0
drive:  .byte   0
        .org    510
        .word   0xaa55
"""


@dataclass(frozen=True)
class Ring:
    """Where the guest writes: slots × sectors from LBA first on each drive."""
    first: int = FIRST_LBA
    slots: int = 1024
    sectors: int = 1
    drives: int = 1

    def __post_init__(self):
        assert 1 <= self.sectors <= 64 and self.first >= FIRST_LBA

    @property
    def offset(self):
        return self.first * SECTOR

    @property
    def length(self):
        return self.slots * self.sectors * SECTOR

    def counts(self, data):
        """The count in each slot of the range's bytes; 0 = never written.

        A slot that holds two counts, or anything else, fails: a torn write.
        """
        size = self.sectors * SECTOR
        assert len(data) == self.length
        return [_slot_count(data[at:at + size], at // size, self.slots)
                for at in range(0, self.length, size)]

    def newest(self, data):
        """The newest count, after checking that the ring is one instant."""
        counts = self.counts(data)
        newest = max(counts)
        for back in range(min(self.slots, newest)):
            wanted = newest - back
            found = counts[wanted % self.slots]
            assert found == wanted, (
                f"slot {wanted % self.slots}: {found}, not {wanted}, "
                f"although {newest} is there: not one instant")
        return newest

    def read(self, path):
        """The range's bytes from a raw file."""
        with open(path, "rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.length)


def _slot_count(slot, index, slots):
    first = struct.unpack_from("<I", slot)[0]
    assert slot == struct.pack("<I", first) * (len(slot) // 4), (
        f"slot {index} is torn or no slot")
    assert first == 0 or first % slots == index, (index, first)
    return first


def same_instant(newest):
    """Assert that the drives' newest counts (80h first) are one instant."""
    for ahead, behind in zip(newest, newest[1:]):
        assert ahead in (behind, behind + 1), newest
    assert newest[0] in (newest[-1], newest[-1] + 1), newest


@functools.lru_cache(maxsize=None)
def boot_sector(ring):
    """The 512 bytes of the guest that writes to ring."""
    symbols = {"FIRST": ring.first, "SLOTS": ring.slots,
               "SECTORS": ring.sectors, "DRIVES": ring.drives}
    defines = [f"--defsym={name}={value}" for name, value in symbols.items()]
    with tempfile.TemporaryDirectory() as tmp:
        obj, binary = os.path.join(tmp, "boot.o"), os.path.join(tmp, "boot")
        subprocess.run(["as", "--32", *defines, "-o", obj], check=True,
                       input=_SOURCE.encode())
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0x7c00",
                        "--oformat=binary", "-o", binary, obj], check=True)
        with open(binary, "rb") as file:
            code = file.read()
    assert len(code) == SECTOR, len(code)
    return code


def install(image, ring=Ring()):
    """Put the boot sector on a raw image and zero its ring."""
    with open(image, "r+b") as file:
        file.write(boot_sector(ring))
        file.seek(ring.offset)
        file.write(bytes(ring.length))
    return ring


def install_qcow2(image, ring=Ring()):
    """The same for a qcow2 image (of a VM that does not run)."""
    with tempfile.NamedTemporaryFile() as code:
        code.write(boot_sector(ring))
        code.flush()
        subprocess.run(["qemu-io", "-f", "qcow2",
                        "-c", f"write -s {code.name} 0 {SECTOR}",
                        "-c", f"write -z {ring.offset} {ring.length}",
                        str(image)], check=True, stdout=subprocess.DEVNULL)
    return ring


def wait_progress(vm, disk_id, writes=20, deadline=60):
    """Wait until the guest has finished that many more writes on the disk."""
    def done():
        vm.check_alive()
        return vm.block_stats(disk_id)["wr_operations"]

    start = done()
    wait_for(lambda: done() >= start + writes, deadline,
             f"{writes} guest writes on {disk_id} after {start}")
