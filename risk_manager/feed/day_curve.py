"""The course of one account's day with open positions, kept in bounded room. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

MOST_STRETCHES = 1440
FIRST_WIDTH = timedelta(seconds=5)


class Stretch(NamedTuple):
    """The lowest, highest and last result of a stretch of time."""

    at: datetime
    low: Decimal
    high: Decimal
    last: Decimal

    def with_result(self, net: Decimal) -> "Stretch":
        return Stretch(self.at, min(self.low, net), max(self.high, net), net)

    def followed_by(self, other: "Stretch") -> "Stretch":
        return Stretch(self.at, min(self.low, other.low), max(self.high, other.high), other.last)


class Extreme(NamedTuple):
    """A result and when it was first reached."""

    at: datetime
    net: Decimal


@dataclass(slots=True)
class DayCurve:
    """Results of one trading date, net of fees, open positions included. It grows by `note`.

    Stretches become twice as long whenever there are too many, so that low and high are never lost.
    """

    trading_date: date
    watched_since: datetime
    width: timedelta = FIRST_WIDTH
    stretches: list[Stretch] = field(default_factory=list)
    high: Extreme | None = None
    low: Extreme | None = None
    drawdown: Extreme | None = None
    """The greatest fall below an earlier high, as a positive amount, and when it was reached."""
    open_low: Extreme | None = None
    open_high: Extreme | None = None
    """The lowest and highest P&L of the open positions alone; None: nothing was seen open."""

    def note_open(self, at: datetime, open_pnl: Decimal) -> None:
        """Take in the P&L of what is open now. Not to be called while nothing is open."""
        if self.open_low is None or open_pnl < self.open_low.net:
            self.open_low = Extreme(at, open_pnl)
        if self.open_high is None or open_pnl > self.open_high.net:
            self.open_high = Extreme(at, open_pnl)

    def note(self, at: datetime, net: Decimal) -> None:
        """Take in the result as it stands. Instants never go back."""
        if self.high is None or net > self.high.net:
            self.high = Extreme(at, net)
        if self.low is None or net < self.low.net:
            self.low = Extreme(at, net)
        fall = self.high.net - net
        if fall > 0 and (self.drawdown is None or fall > self.drawdown.net):
            self.drawdown = Extreme(at, fall)
        last = self.stretches[-1] if self.stretches else None
        if last is not None and at - last.at < self.width:
            self.stretches[-1] = last.with_result(net)
            return
        self.stretches.append(Stretch(at, net, net, net))
        if len(self.stretches) > MOST_STRETCHES:
            self.width *= 2
            self.stretches = _joined(self.stretches, self.width)

    @property
    def last(self) -> Decimal | None:
        return self.stretches[-1].last if self.stretches else None

    def at_most(self, count: int) -> Iterator[Stretch]:
        """Yield the whole curve in no more than `count` stretches."""
        stretches, width = self.stretches, self.width
        while len(stretches) > count:
            width *= 2
            shorter = _joined(stretches, width)
            stretches = shorter if len(shorter) < len(stretches) else _in_pairs(stretches)
        yield from stretches


def _joined(stretches: list[Stretch], width: timedelta) -> list[Stretch]:
    """Join neighbours that begin within `width` of each other."""
    joined: list[Stretch] = []
    for stretch in stretches:
        if joined and stretch.at - joined[-1].at < width:
            joined[-1] = joined[-1].followed_by(stretch)
        else:
            joined.append(stretch)
    return joined


def _in_pairs(stretches: list[Stretch]) -> list[Stretch]:
    return [
        one[0].followed_by(one[1]) if len(one) == 2 else one[0]
        for one in (stretches[i : i + 2] for i in range(0, len(stretches), 2))
    ]
