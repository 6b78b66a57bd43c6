# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting, in one place: poll a condition until a deadline, then fail loudly.

No test sleeps and hopes.  A deadline is there to end a hang, never to measure
anything, so the default is generous.
"""

import time

DEADLINE = 30.0
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


class DeadlinePassed(AssertionError):
    """What was waited for did not come."""


def wait_for(cond, deadline=DEADLINE, what="a condition"):
    """Call cond() until it returns something true, and return that.

    Raises DeadlinePassed, naming what, after deadline seconds.  An exception
    of cond() goes through at once: that is how it says "this can never be".
    """
    end = time.monotonic() + deadline
    pause = _FIRST_PAUSE
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() >= end:
            raise DeadlinePassed(f"{what}: not within {deadline:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
