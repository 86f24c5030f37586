"""What one event costs in work, pinned: a test of time would hold on no busy machine.

A number that grows is work that somebody added to the way of a close; a number that shrinks is
pinned anew, so that it stays so.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# The Decimal written in C does not tell what is done with it; without its module there is another.
PROGRAM = "import sys; sys.modules['_decimal'] = None; import work_counts; work_counts.main()"
COLUMNS = "rules decimals figures statements transactions hops frames requests"
PINNED = {
    # Each of the five frames is judged by itself, by all 25 rules. What is kept of them is one
    # transaction in one hop to the database's thread. Nothing is asked of the gateway.
    "fill, calm": (125, 204, 580, 28, 1, 1, 5, 0),
    # The first four of the five frames: the account is judged after the close is sent. A decision,
    # an action and their record are added to the transaction. The one request is the close: nothing
    # was read first, and no screen has been told yet.
    "fill over a limit, until the close is sent": (100, 171, 4, 35, 1, 1, 0, 1),
    # The account frame of the fill and the five frames of the close's fill are one turn; what was
    # read back (positions, orders, trades) and the end of the action are another.
    "the close filled and read back": (200, 334, 1212, 49, 2, 2, 13, 3),
    # One order frame, by all rules.
    "order": (25, 30, 561, 9, 1, 1, 2, 0),
    # Between two prices worked out before, no rule is asked. What is left is the screen's figures:
    # the quote and the account, at most ten times a second.
    "quote, calm": (0, 0, 564, 0, 0, 0, 2, 0),
    # The six rules that go by prices. Of several positions the bands are worked out again, once a
    # second at most.
    "quote, near a limit": (6, 172, 600, 0, 0, 0, 2, 0),
    # A lock that has nothing to demand leaves the band as it is.
    "quote, under a lock": (0, 0, 602, 0, 0, 0, 2, 0),
    # All rules, each second; nothing is kept, and the figures of an account that holds are told.
    # Of the figures, what each exit order makes at its price is worked out for the screen alone.
    "tick": (25, 30, 558, 0, 0, 0, 1, 0),
}


@functools.cache
def counted() -> dict[str, dict[str, int]]:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, dict[str, int]] = json.loads(told.stdout)
    return found


def test_every_kind_of_event_is_pinned() -> None:
    assert list(counted()) == list(PINNED)


@pytest.mark.parametrize("event", PINNED)
def test_an_event_costs_the_work_that_is_pinned(event: str) -> None:
    """No more is done for an event than was done when this was written."""
    assert counted()[event] == dict(zip(COLUMNS.split(), PINNED[event], strict=True))
