# SPDX-License-Identifier: GPL-2.0-or-later
"""Which test a worker of pytest-xdist gets next.

xdist deals out whole runs of neighbours, and those of libvirt's, which take
long, keep one worker busy when all others have ended.  Here each has the test
that it is in, and one more.
"""

from xdist.scheduler import LoadScheduling

# a worker has to know the next one to begin any
_AHEAD = 2


class OneAhead(LoadScheduling):
    """Sends a test only to who has but one left."""

    def _send_tests(self, node, num):
        room = _AHEAD - len(self.node2pending[node])
        super()._send_tests(node, min(num, room))
