"""A quoted price that is not believed yet, and since when it has stood."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

STAYED = timedelta(seconds=1)
"""A price that has stood so long is believed."""


class Candidate(NamedTuple):
    """A price in doubt: since when this side of the contract has been, and when it was stated."""

    price: float
    since: datetime
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DoubtedQuote:
    """What is in doubt about one contract, side by side."""

    bid: Candidate | None = None
    ask: Candidate | None = None
    last: Candidate | None = None

    def stayed(self, now: datetime) -> bool:
        """Whether time has confirmed one of them."""
        return any(
            c is not None and now - c.since >= STAYED for c in (self.bid, self.ask, self.last)
        )
