# SPDX-License-Identifier: GPL-2.0-or-later
"""Sanitizer reports of the programs under test are failures.

A daemon's stderr may be gone when it finds something, so reports go to files
san.* of the test's directory as well as being looked for in what it said.
"""

import glob
import os

_MARKS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer",
          "ThreadSanitizer", "AddressSanitizer:DEADLYSIGNAL")
# GCC 14's says it of a thread that came or went while it looked for leaks;
# one that it finds all the same is reported below
_NO_REPORT = "was not suspended. False leaks are possible."

_HERE = os.path.dirname(os.path.abspath(__file__))
_LEAKS = os.path.join(_HERE, "lsan.supp")
_RACES = os.path.join(os.path.dirname(_HERE), "tsan.supp")


def sanitizer_environment(directory):
    """What a program under test gets in its environment."""
    log = f"log_path={directory}/san"
    common = f"{log}:halt_on_error=1:abort_on_error=0:exitcode=99"
    return {"ASAN_OPTIONS": f"{common}:detect_leaks=1",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
            "LSAN_OPTIONS": f"suppressions={_LEAKS}:"
                            "print_suppressions=0",
            "TSAN_OPTIONS": f"{common}:suppressions={_RACES}",
            "G_DEBUG": "fatal-criticals"}


def sanitizer_reports(directory, stderr=""):
    """All reports found, as one text; empty is good."""
    found = [_from_first_mark(stderr)]
    for path in sorted(glob.glob(os.path.join(directory, "san.*"))):
        with open(path, errors="replace", encoding="utf-8") as file:
            text = "".join(line for line in file if _NO_REPORT not in line)
        if text.strip():
            found.append(f"{path}:\n{text}")
    return "\n".join(text for text in found if text)


def _from_first_mark(text):
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if any(mark in line for mark in _MARKS):
            return "\n".join(lines[number:])
    return ""
