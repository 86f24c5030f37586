"""Quoted prices that are not believed yet, and since when they have stood."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

STAYED = timedelta(seconds=1)
"""A doubted price that has stood for this long is believed."""


class Candidate(NamedTuple):
    """A doubted price: `since` when this side has been in doubt, and `at` when it was stated."""

    price: float
    since: datetime
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DoubtedQuote:
    """The doubted prices of one contract: bid, ask and last."""

    bid: Candidate | None = None
    ask: Candidate | None = None
    last: Candidate | None = None

    def stayed(self, now: datetime) -> bool:
        """Whether one of the prices has stood long enough to be believed."""
        return any(
            c is not None and now - c.since >= STAYED for c in (self.bid, self.ask, self.last)
        )
