# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test is held to (conftest.py): each rule can fail a test."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BODIES = {
    # while it is in exec(2), it has no command line yet
    "process left": "import subprocess, deadline, ours\n"
                    "    subprocess.Popen(['tail', '-f', tmp + '/x', "
                    "'/dev/null'], stderr=subprocess.DEVNULL)\n"
                    "    deadline.wait_for(lambda: ours.processes_of(tmp))",
    "mount left": "import subprocess\n"
                  "    subprocess.run(['mount', '-t', 'tmpfs', 'none', tmp],"
                  " check=True)",
    "AddressSanitizer": "open(tmp + '/mnt.log', 'w').write("
                        "'==1==ERROR: AddressSanitizer: x')",
    "runtime error": "open(tmp + '/mnt.log', 'w').write("
                     "'a.c:1: runtime error: x')",
    "ThreadSanitizer": "open(tmp + '/san.17', 'w').write("
                       "'WARNING: ThreadSanitizer: x')",
    "was skipped": "import pytest\n    pytest.skip('no reason')",
}
# the first of them ends when nearly all others have
LONG = """
import os
import pytest
from deadline import wait_for

@pytest.mark.parametrize("number", range(40))
def test_inner(number):
    if number == 0:
        wait_for(lambda: len(os.listdir("done")) == 38)
    open(f"done/{number}", "w").close()
"""


def run_inner(tmp, body):
    """Run a test of that body under the real conftest.py."""
    return run_file(tmp, f"def test_inner(tmp):\n    {body}\n")


def run_file(tmp, text, *words):
    """Run a file of tests so."""
    os.symlink(f"{HERE}/conftest.py", f"{tmp}/conftest.py")
    with open(f"{tmp}/test_inner.py", "w", encoding="utf-8") as file:
        file.write(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         *words, "test_inner.py"], cwd=tmp, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": HERE, "FLEECEFS_TESTS_MUST_RUN": "1",
             "PYTHONDONTWRITEBYTECODE": "1"})


GOOD = ("assert True",
        "open(tmp + '/san.17', 'w').write('==1==Running thread 2 was not "
        "suspended. False leaks are possible.')")


@pytest.mark.parametrize("body", GOOD, ids=("nothing", "no report"))
def test_a_good_test_passes(tmp, body):
    done = run_inner(tmp, body)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("said", BODIES)
def test_rule(tmp, said):
    """The inner test fails and says why; what it left is removed."""
    if said == "mount left" and os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    done = run_inner(tmp, BODIES[said])
    assert done.returncode == 1, done.stdout
    assert said in done.stdout


def test_nothing_waits_for_a_long_test(tmp):
    """But for the one that its worker has been given already."""
    pytest.importorskip("xdist")
    os.mkdir(f"{tmp}/done")
    done = run_file(tmp, LONG, "-n", "2")
    assert done.returncode == 0, done.stdout
