# SPDX-License-Identifier: GPL-2.0-or-later
"""What a refusal looks like: one line that says it all, and no mount."""

import mount


def said_by(mnt):
    """The one line on stderr; warnings and reports would be more."""
    lines = mnt.stderr().strip().splitlines()
    assert len(lines) == 1, mnt.report()
    assert lines[0].startswith("fleecefs: "), lines[0]
    assert lines[0].isprintable(), lines[0]
    return lines[0]


def assert_refused(mnt, *words, status=mount.MOUNT_FAILED):
    """A start with check=False failed, and its line has all the words."""
    assert mnt.returncode == status, mnt.report()
    assert not mnt.mounted()
    line = said_by(mnt)
    for word in words:
        assert word in line, (word, line)
    return line
