# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables in tests/README.md name tests that are there."""

import os
import re

HERE = os.path.dirname(__file__)
CELL = re.compile(r"(?P<file>\w+)::(?P<test>\w+)|unit/(?P<unit>[\w-]+)"
                  r"|\([^)]+\)")


def rows():
    """The cells of the tables of faults, without the first column."""
    with open(f"{HERE}/../README.md", encoding="utf-8") as file:
        text = file.read().split("## What goes wrong")[1]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and not line.startswith("| |"):
            yield cells


def test_every_cell_is_a_test():
    count = 0
    for name, *cells in rows():
        for cell in cells:
            match = CELL.fullmatch(cell)
            assert match, (name, cell)
            count += bool(match["file"])
            check(match)
    assert count > 60


def check(match):
    if match["unit"]:
        assert os.path.exists(f"{HERE}/../unit/test-{match['unit']}.c"), match
    elif match["file"]:
        with open(f"{HERE}/test_{match['file']}.py",
                  encoding="utf-8") as file:
            assert f"def test_{match['test']}(" in file.read(), match
